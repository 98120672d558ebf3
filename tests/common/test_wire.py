from __future__ import annotations

import binascii
import itertools
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiflow.common import wire
from aiflow.common.errors import (
    ConfigError,
    PayloadError,
    PayloadMalformed,
    PayloadTruncated,
    ReferenceMissing,
    UnknownBundle,
    UnknownVersion,
    WrongChecksum,
    WrongMac,
)
from aiflow.common.wire import (
    Context,
    Escalation,
    Header,
    KeyFrameOrder,
    Kind,
    Local,
    Packet,
    RefineOrder,
    Why,
)

CONTEXT = Context("porch", "north", 1_760_000_000_000)
KEYED = replace(CONTEXT, key=bytes(range(32)))
TAG = bytes.fromhex("3fa2")
KEY = Packet(Kind.KEY, TAG, 300, 12_500, b"\xa3")
BOTH = Header(TAG, 300, 12_500, 2)
"""Frame 300, had it been sent with both layers."""
PACKETS = {
    "key": (KEY, CONTEXT),
    "refine": (Packet(Kind.REFINE, TAG, 300, 12_500, b"\x5e", 1, 1), CONTEXT),
    "delta": (Packet(Kind.DELTA, TAG, 301, 13_000, b"\xef\x80", 0, 2, BOTH), CONTEXT),
    "still": (Packet(Kind.DELTA, TAG, 302, 13_500, b"", 0, 2, BOTH), CONTEXT),
    "local": (Packet(Kind.LOCAL, TAG, 303, 14_000, b"\1\xcca red bus"), CONTEXT),
    "mac": (KEY, KEYED),
}
ESCALATION = Escalation(
    "porch", "north", 1_760_000_000_000, 1500, (wire.pack(KEY, CONTEXT),), (5, 130, 9)
)


def sealed(hexadecimal: str, context: Context = CONTEXT) -> bytes:
    """Any content with a right trailer, as a faulty or hostile sender could make it."""
    content = bytes.fromhex(hexadecimal)
    return content + context.trailer(content)


# The page of the format.


@pytest.mark.parametrize("name", PACKETS)
def test_payloads_are_those_of_the_page(name: str, wire_page: dict[str, bytes]) -> None:
    packet, context = PACKETS[name]
    assert wire.pack(packet, context) == wire_page[name]
    assert wire.unpack(wire_page[name], context, [BOTH]) == packet


def test_context_of_the_page(wire_page: dict[str, bytes]) -> None:
    trailer = binascii.crc_hqx(wire_page["context"] + wire_page["key"][:-2], 0xFFFF)
    assert wire_page["key"][-2:] == trailer.to_bytes(2, "big")
    of_delta = wire_page["context"][:-8] + wire_page["delta-context"]
    trailer = binascii.crc_hqx(of_delta + wire_page["delta"][:-2], 0xFFFF)
    assert wire_page["delta"][-2:] == trailer.to_bytes(2, "big")


def test_other_messages_are_those_of_the_page(wire_page: dict[str, bytes]) -> None:
    assert wire.pack_receipt([303, 300, 310, 301, 302], 0.0205) == wire_page["receipt"]
    receipt = wire.unpack_receipt(wire_page["receipt"])
    assert receipt.ranges == [range(300, 304), range(310, 311)]
    assert receipt.delay_s == pytest.approx(0.0205, rel=0.03)
    for name, order in (
        ("refine-order", RefineOrder(300, 1, 1)),
        ("key-order", KeyFrameOrder()),
    ):
        assert wire.pack_refine_order(order) == wire_page[name]
        assert wire.unpack_refine_order(wire_page[name]) == order
    assert wire.pack_escalation(ESCALATION) == wire_page["escalation"]
    assert wire.unpack_escalation(wire_page["escalation"]) == ESCALATION


def test_crc_is_ccitt_false() -> None:
    assert binascii.crc_hqx(b"123456789", 0xFFFF) == 0x29B1


# Faults, each its own.


def test_short_payloads_are_truncated() -> None:
    payload = wire.pack(KEY, CONTEXT)
    for length in range(7):
        with pytest.raises(PayloadTruncated):
            wire.unpack(payload[:length], CONTEXT)
    with pytest.raises(PayloadTruncated, match="layer map"):
        wire.unpack(sealed("10 3fa2 01 01"), CONTEXT)
    with pytest.raises(PayloadTruncated, match="capture time"):
        wire.unpack(sealed("10 3fa2 01 81"), CONTEXT)


def test_cut_in_the_body_is_a_wrong_checksum() -> None:
    with pytest.raises(WrongChecksum):
        wire.unpack(wire.pack(replace(KEY, body=b"abc"), CONTEXT)[:-1], CONTEXT)


@pytest.mark.parametrize("version", [0, 2, 15])
def test_other_versions_are_refused_before_anything_else(version: int) -> None:
    with pytest.raises(UnknownVersion, match=f"version {version}"):
        wire.unpack(bytes([version << 4]), CONTEXT)


def test_bundle() -> None:
    wire.require_bundle(KEY, TAG)
    with pytest.raises(UnknownBundle, match=r"3fa2.*0000"):
        wire.require_bundle(KEY, b"\0\0")


@pytest.mark.parametrize(
    "stranger",
    [
        replace(CONTEXT, device="porch2"),
        replace(CONTEXT, camera="south"),
        replace(CONTEXT, epoch_ms=CONTEXT.epoch_ms + 1),
    ],
)
def test_payload_of_another_stream(stranger: Context) -> None:
    with pytest.raises(WrongChecksum):
        wire.unpack(wire.pack(KEY, CONTEXT), stranger)
    with pytest.raises(WrongMac):
        wire.unpack(wire.pack(KEY, KEYED), replace(stranger, key=KEYED.key))


def test_another_key() -> None:
    with pytest.raises(WrongMac):
        wire.unpack(wire.pack(KEY, KEYED), replace(CONTEXT, key=bytes(32)))


def test_a_key_has_16_to_32_bytes_and_is_never_shown() -> None:
    for length in (0, 15, 33):
        with pytest.raises(ConfigError, match="16 to 32"):
            Context("a", "b", 0, bytes(length))
    assert "key" not in repr(KEYED)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("14 3fa2 01 01 01", id="kind of another message"),
        pytest.param("1f 3fa2 01 01 01", id="unknown kind"),
        pytest.param("10 3fa2 01 01 00", id="no layers"),
        pytest.param("10 3fa2 01 01 11", id="key from a later layer"),
        pytest.param("12 3fa2 01 01 01", id="refine from the first layer"),
        pytest.param("12 3fa2 01 01 1f", id="beyond 15 layers"),
        pytest.param("10 3fa2 8100 01 01", id="number not in fewest bytes"),
        pytest.param("10 3fa2 808080808080 01 01", id="sequence of 7 bytes"),
        pytest.param("10 3fa2 808080808020 01 01", id="sequence of 2**40"),
        pytest.param("10 3fa2 01 80808080808008 01", id="time of 2**45"),
        pytest.param("13 3fa2 01 01 80 ff", id="caption not UTF-8"),
        pytest.param("13 3fa2 01 01 80" + "61" * 1001, id="caption too long"),
    ],
)
def test_malformed(content: str) -> None:
    with pytest.raises(PayloadMalformed):
        wire.unpack(sealed(content), CONTEXT)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("11 2c 00 00", id="distance 0"),
        pytest.param("11 2c 8100 00", id="number not in fewest bytes"),
        pytest.param("11 2c ffffffffff1f 00", id="sequence of 2**40"),
        pytest.param("11 2c 01 ffffffffffff07", id="time of 2**45"),
    ],
)
def test_malformed_deltas(content: str) -> None:
    payload = bytes.fromhex(content)
    with pytest.raises(PayloadMalformed):
        wire.unpack(payload + CONTEXT.trailer(payload, BOTH), CONTEXT, [BOTH])


def test_a_delta_finds_its_reference_among_those_at_hand() -> None:
    payload = wire.pack(*PACKETS["delta"])
    near = [replace(BOTH, sequence=sequence) for sequence in (299, 301, 302)]
    alike = replace(BOTH, sequence=300 + 256)
    assert wire.unpack(payload, CONTEXT, [*near, alike, BOTH]) == PACKETS["delta"][0]
    with pytest.raises(ReferenceMissing, match="44 mod 256"):
        wire.unpack(payload, CONTEXT, near)
    with pytest.raises(WrongChecksum):
        wire.unpack(payload, CONTEXT, [alike])
    with pytest.raises(ReferenceMissing):
        wire.unpack_unverified(payload, wire.CRC_BYTES)


def test_payload_too_long() -> None:
    fits = replace(KEY, body=bytes(wire.MAX_PAYLOAD_BYTES - 10))
    assert wire.unpack(wire.pack(fits, CONTEXT), CONTEXT) == fits
    with pytest.raises(PayloadMalformed, match="4096"):
        wire.pack(replace(KEY, body=bytes(wire.MAX_PAYLOAD_BYTES - 9)), CONTEXT)
    with pytest.raises(PayloadMalformed, match="4097"):
        wire.unpack(b"\x10" * 4097, CONTEXT)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 2**40},
        {"sequence": -1},
        {"captured_ms": 2**45},
        {"captured_ms": -1},
        {"bundle_tag": b"\0"},
        {"reference": Header(TAG, 299, 0, 1)},
        {"kind": Kind.DELTA},
        {"kind": Kind.DELTA, "reference": Header(TAG, 300, 0, 1)},
        {"kind": Kind.DELTA, "reference": Header(TAG, -1, 0, 1)},
        {"kind": Kind.DELTA, "reference": Header(TAG, 299, 12_501, 1)},
        {"kind": Kind.DELTA, "reference": Header(TAG, 299, 0, 2)},
        {"kind": Kind.DELTA, "reference": Header(b"ab", 299, 0, 1)},
        {"kind": Kind.DELTA, "reference": Header(TAG, 299, 0, 1), "sequence": 2**40},
        {"kind": Kind.DELTA, "reference": Header(TAG, 299, 0, 1), "captured_ms": 2**45},
        {"kind": Kind.REFINE},
        {"kind": Kind.LOCAL, "layers": 2, "body": b"\0"},
        {"layers": 16},
        {"first_layer": 1},
    ],
)
def test_impossible_packets_are_not_packed(change: dict[str, object]) -> None:
    with pytest.raises(PayloadMalformed):
        wire.pack(replace(KEY, **change), CONTEXT)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "x" * 65, "ä" * 33, "a\0b", "\ud800"])
def test_names_that_no_stream_can_have(name: str) -> None:
    with pytest.raises(PayloadMalformed):
        Context(name, "b", 0)
    with pytest.raises(PayloadMalformed):
        wire.pack_escalation(replace(ESCALATION, camera=name))


# Every bit counts.

AT_HAND = [replace(BOTH, sequence=sequence) for sequence in range(250, 1250)]
"""Whatever low byte a wrong bit makes, there are frames that have it."""


@pytest.mark.parametrize("name", PACKETS)
def test_every_single_bit_flip_is_refused(name: str) -> None:
    packet, context = PACKETS[name]
    payload = wire.pack(packet, context)
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises((UnknownVersion, WrongChecksum, WrongMac, ReferenceMissing)):
            wire.unpack(bytes(flipped), context, AT_HAND)


# A caption made on the device.


def test_local_body() -> None:
    for why, confidence in itertools.product(Why, (0.0, 0.8, 1.0)):
        local = Local(why, confidence, "ein grüner Bus")
        assert wire.unpack_local(wire.pack_local(local)) == local
    for unfit in (Local(Why.ASKED, 1.1, ""), Local(Why.ASKED, 0.5, "x" * 1001)):
        with pytest.raises(PayloadMalformed):
            wire.pack_local(unfit)
    for short in (b"", b"\0"):
        with pytest.raises(PayloadTruncated):
            wire.unpack_local(short)
    with pytest.raises(PayloadMalformed, match="reason 6"):
        wire.unpack_local(b"\6\xcca red bus")


# Receipts.


@given(st.sets(st.integers(0, 400), min_size=1))
def test_receipts_say_exactly_what_they_were_given(sequences: set[int]) -> None:
    receipts = [wire.unpack_receipt(receipt).ranges for receipt in wire.pack_receipts(sequences)]
    assert all(len(ranges) <= wire.MAX_RANGES for ranges in receipts)
    told = [sequence for ranges in receipts for run in ranges for sequence in run]
    assert told == sorted(sequences)


def test_receipt_of_nothing_and_of_too_much() -> None:
    assert wire.pack_receipts([]) == []
    assert len(wire.pack_receipts(range(0, 130, 2))) == 2
    for sequences in ([], range(0, 130, 2), [-1], [2**40]):
        with pytest.raises(PayloadMalformed):
            wire.pack_receipt(sequences)
    top = [2**40 - 1]
    assert wire.unpack_receipt(wire.pack_receipt(top)).ranges == [range(2**40 - 1, 2**40)]


def test_receipt_of_a_huge_range_is_cheap() -> None:
    payload = bytes.fromhex("14 00 00 feffffffff1f")
    assert wire.unpack_receipt(payload).ranges == [range(2**40 - 1)]


@given(st.floats(0, 60))
def test_delays_are_known_to_within_some_percent(delay_s: float) -> None:
    told_s = wire.unpack_receipt(wire.pack_receipt([1], delay_s)).delay_s
    assert told_s == pytest.approx(delay_s, rel=0.05, abs=1e-4)


def test_a_delay_beyond_all_measure_is_the_longest_one() -> None:
    assert wire.unpack_receipt(wire.pack_receipt([1], 1e9)).delay_s == pytest.approx(62.8, rel=0.01)
    assert wire.unpack_receipt(wire.pack_receipt([1], -1.0)).delay_s == 0.0


@pytest.mark.parametrize(
    "receipt, error",
    [
        ("", PayloadTruncated),
        ("14", PayloadTruncated),
        ("14 40", PayloadTruncated),
        ("14 40 01", PayloadTruncated),
        ("14 40 01 00 01", PayloadTruncated),
        ("24 40 01 00", UnknownVersion),
        ("15 40 01 00", PayloadMalformed),
        ("14 40 01 00 00 00", PayloadMalformed),
        ("14 40 01 ffffffffff1f", PayloadMalformed),
        ("14 40" + "0100" * 65, PayloadMalformed),
        ("14" + "00" * 800, PayloadMalformed),
    ],
)
def test_broken_receipts(receipt: str, error: type[PayloadError]) -> None:
    with pytest.raises(error):
        wire.unpack_receipt(bytes.fromhex(receipt))


# Refine orders and escalations.


@pytest.mark.parametrize(
    "order, error",
    [
        ("15", PayloadTruncated),
        ("15 11", PayloadTruncated),
        ("35 11 01", UnknownVersion),
        ("14 11 01", PayloadMalformed),
        ("15 10 01", PayloadMalformed),
        ("15 f1 01", PayloadMalformed),
        ("15 11 01 00", PayloadMalformed),
        ("15 00 01", PayloadMalformed),
    ],
)
def test_broken_refine_orders(order: str, error: type[PayloadError]) -> None:
    with pytest.raises(error):
        wire.unpack_refine_order(bytes.fromhex(order))


def test_impossible_refine_orders_are_not_packed() -> None:
    for order in (RefineOrder(1, 1, 0), RefineOrder(-1, 0, 0), RefineOrder(1, 0, 16)):
        with pytest.raises(PayloadMalformed):
            wire.pack_refine_order(order)


def test_escalated_packets() -> None:
    assert ESCALATION.packets() == (KEY,)
    keyed = replace(ESCALATION, payloads=(wire.pack(KEY, KEYED),), trailer=wire.MAC_BYTES)
    assert wire.unpack_escalation(wire.pack_escalation(keyed)).packets() == (KEY,)
    with pytest.raises(WrongChecksum):
        replace(ESCALATION, camera="south").packets()
    with pytest.raises(PayloadTruncated):
        replace(ESCALATION, payloads=(b"\x10",)).packets()
    assert wire.unpack_unverified(keyed.payloads[0][:-1] + b"\0", wire.MAC_BYTES) == KEY


@pytest.mark.parametrize(
    "change",
    [
        {"payloads": ()},
        {"payloads": (b"",) * 9},
        {"payloads": (bytes(4097),)},
        {"draft": (0,) * 257},
        {"draft": (2**31,)},
        {"draft": (-1,)},
        {"trailer": 4},
        {"deadline_ms": -1},
        {"epoch_ms": 2**53},
    ],
)
def test_impossible_escalations_are_not_packed(change: dict[str, object]) -> None:
    with pytest.raises(PayloadMalformed):
        wire.pack_escalation(replace(ESCALATION, **change))  # type: ignore[arg-type]


def test_largest_escalation_fits() -> None:
    largest = Escalation(
        "d" * 64, "c" * 64, 2**53 - 1, 2**32 - 1, (bytes(4096),) * 8, (2**31 - 1,) * 256
    )
    packed = wire.pack_escalation(largest)
    assert wire.unpack_escalation(packed) == largest
    assert len(packed) <= wire.MAX_ESCALATION_BYTES
    with pytest.raises(PayloadMalformed):
        wire.unpack_escalation(packed + bytes(wire.MAX_ESCALATION_BYTES))


def test_every_cut_of_an_escalation_is_truncated() -> None:
    packed = wire.pack_escalation(ESCALATION)
    for length in range(len(packed)):
        with pytest.raises(PayloadTruncated):
            wire.unpack_escalation(packed[:length])
    with pytest.raises(PayloadMalformed, match="1 bytes too many"):
        wire.unpack_escalation(packed + b"\0")


# Whatever the bytes.

READERS: list[tuple[Callable[[bytes], object], Callable[[object], bytes]]] = [
    (lambda data: wire.unpack(data, CONTEXT, [BOTH]), lambda packet: wire.pack(packet, CONTEXT)),  # type: ignore[arg-type]
    (wire.unpack_escalation, wire.pack_escalation),  # type: ignore[list-item]
    (wire.unpack_refine_order, wire.pack_refine_order),  # type: ignore[list-item]
]


def read_all(data: bytes) -> None:
    """Each reader refuses the bytes in its own words, or they are the message's one spelling."""
    for read, write in READERS:
        try:
            message = read(data)
        except PayloadError:
            continue
        assert write(message) == data
    for reader in (wire.unpack_receipt, wire.unpack_local):
        try:
            reader(data)
        except PayloadError:
            continue


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    read_all(data)


@given(st.integers(0, 3), st.binary(max_size=60))
def test_random_content_with_a_right_checksum(kind: int, content: bytes) -> None:
    if kind == Kind.DELTA:
        delta = b"\x11\x2c" + content
        read_all(delta + CONTEXT.trailer(delta, BOTH))
    else:
        read_all(sealed(bytes([0x10 | kind]).hex() + content.hex()))


@given(st.integers(4, 8), st.binary(max_size=60))
def test_random_control_messages(kind: int, content: bytes) -> None:
    read_all(bytes([0x10 | kind]) + content)


def test_mutated_messages() -> None:
    chance = random.Random(4)
    seeds = [wire.pack(*case) for case in PACKETS.values()]
    seeds += [wire.pack_escalation(ESCALATION), wire.pack_receipt(range(0, 90, 3))]
    for _ in range(4000):
        data = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        read_all(bytes(data))


@given(
    st.sampled_from([Kind.KEY, Kind.DELTA, Kind.REFINE]),
    st.integers(1, 2**40 - 1),
    st.integers(0, 2**45 - 1),
    st.binary(max_size=80),
    st.integers(1, 7),
    st.booleans(),
)
def test_round_trip(
    kind: Kind, sequence: int, captured_ms: int, body: bytes, layers: int, keyed: bool
) -> None:
    reference = Header(TAG, sequence // 2, captured_ms // 2, layers)
    packet = Packet(
        kind,
        TAG,
        sequence,
        captured_ms,
        body,
        layers if kind is Kind.REFINE else 0,
        layers,
        reference if kind is Kind.DELTA else None,
    )
    context = KEYED if keyed else CONTEXT
    assert wire.unpack(wire.pack(packet, context), context, [reference]) == packet

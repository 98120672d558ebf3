"""What an attacker may send: no payload harms the wire format or the codec behind it."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiflow.common.codec import Tables, compress
from aiflow.common.errors import PayloadError
from aiflow.common.symbols import Decoded, decode
from aiflow.common.wire import (
    MAX_PAYLOAD_BYTES,
    Context,
    Header,
    Kind,
    Local,
    Packet,
    Why,
    pack,
    pack_local,
    unpack,
)

TABLES = Tables.uniform(6, 3, 5, layers=(2, 6))
LAYERS = len(TABLES.layers)
TAG = b"ab"
CONTEXT = Context("porch", "door", 1_767_225_600_000)
CONTEXTS = (CONTEXT, replace(CONTEXT, key=bytes(range(32))))
RNG = np.random.default_rng(0)
FRAMES = [RNG.integers(0, 5, (6, 3)).astype(np.uint8) for _ in range(16)]
HEADERS = [Header(TAG, number, number, LAYERS) for number in range(len(FRAMES))]
AT_HAND = {number: Decoded(frame, frame) for number, frame in enumerate(FRAMES)}
HEADER_BYTES = 10
SLOW_S = 0.01
PEAK_BYTES = 2**20


def valid() -> list[tuple[Packet, Context]]:
    """A packet of each kind that its receiver accepts, with a checksum and with a MAC."""
    mixed = np.concatenate([FRAMES[0][:3], FRAMES[1][3:]])
    packets = [
        Packet(Kind.KEY, TAG, 40, 40, compress(FRAMES[0], TABLES, layers=1), 0, 1),
        Packet(Kind.KEY, TAG, 41, 41, compress(FRAMES[1], TABLES, layers=LAYERS), 0, LAYERS),
        Packet(Kind.DELTA, TAG, 42, 42, compress(mixed, TABLES, layers=LAYERS, reference=FRAMES[0]),
               0, LAYERS, HEADERS[0]),
        Packet(Kind.REFINE, TAG, 3, 3, compress(FRAMES[3], TABLES, first_layer=1, layers=1), 1, 1),
        Packet(Kind.LOCAL, TAG, 43, 43, pack_local(Local(Why.ASKED, 0.9, "a red bus waits"))),
        Packet(Kind.IMAGE, TAG, 44, 44, b"\xff\xd8\xff" + bytes(8)),
    ]  # fmt: skip
    return [(packet, context) for context in CONTEXTS for packet in packets]


VALID = valid()


def receive(payload: bytes, context: Context) -> bool:
    """Do all that an edge node does before it captions; True where the payload is accepted."""
    try:
        packet = unpack(payload, context, HEADERS)
        if packet.kind not in {Kind.LOCAL, Kind.IMAGE}:
            decode(packet, TABLES, AT_HAND)
    except PayloadError:
        return False
    return True


def sealed(content: bytes, packet: Packet, context: Context) -> bytes:
    """With the trailer that fits, as an attacker can make it for a stream with a CRC."""
    return content + context.trailer(content, packet.reference)


def content_of(packet: Packet, context: Context) -> bytes:
    return pack(packet, context)[: -context.trailer_bytes]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Bytes replaced, inserted, cut, taken from another payload, or another body."""
    content = content_of(*draw(st.sampled_from(VALID)))
    at = draw(st.integers(0, len(content)))
    other = content_of(*draw(st.sampled_from(VALID)))
    given_bytes = draw(st.binary(max_size=200))
    return draw(
        st.sampled_from(
            [
                content[:at] + given_bytes[:8] + content[at + len(given_bytes[:8]) :],
                content[:at] + given_bytes + content[at:],
                content[:at],
                content[:at] + other[at:],
                content[:HEADER_BYTES] + given_bytes[:40],
            ]
        )
    )


@pytest.mark.parametrize("packet, context", VALID)
def test_valid_payloads_are_accepted(packet: Packet, context: Context) -> None:
    assert receive(pack(packet, context), context)


@pytest.mark.parametrize("packet, context", VALID)
def test_every_flipped_bit_is_refused(packet: Packet, context: Context) -> None:
    payload = pack(packet, context)
    for bit in range(8 * len(payload)):
        wrong = bytearray(payload)
        wrong[bit // 8] ^= 1 << bit % 8
        assert not receive(bytes(wrong), context)


@settings(max_examples=500)
@given(mutated(), st.sampled_from(VALID))
def test_a_hostile_payload_is_a_message_or_an_error_of_ours(
    content: bytes, like: tuple[Packet, Context]
) -> None:
    receive(content, like[1])
    receive(sealed(content, *like), like[1])


@given(st.sampled_from([0x10 | kind for kind in Kind]), st.integers(0, 2**32))
def test_the_longest_payloads_are_read_in_little_time_and_memory(first: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    packet, context = VALID[0]
    size = MAX_PAYLOAD_BYTES - context.trailer_bytes - 1 + int(rng.integers(3))
    payload = sealed(bytes([first]) + rng.bytes(size), packet, context)
    tracemalloc.start()
    try:
        receive(payload, context)
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()
    took = []
    for _ in range(3):  # the machine may have been the slow one
        began = time.thread_time()
        receive(payload, context)
        took.append(time.thread_time() - began)
    assert min(took) < SLOW_S

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.errors import PayloadError, PayloadMalformed, ReferenceMissing
from aiflow.common.symbols import Decoded, decode, key_payload
from aiflow.common.wire import (
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

TABLES = Tables.uniform(6, 3, 5, layers=(2, 4, 6))
TAG = b"\xab\xcd"


def _frame(seed: int) -> Symbols:
    return np.random.default_rng(seed).integers(0, 5, (6, 3)).astype(np.uint8)


def _decoded(seed: int, own: int, tokens: int) -> Decoded:
    return Decoded(_frame(seed)[:own], _frame(seed)[:tokens])


def _delta(sequence: int, reference: int, layers: int = 2) -> Packet:
    tokens = TABLES.layers[layers - 1]
    body = compress(_frame(sequence), TABLES, layers=layers, reference=_frame(reference)[:tokens])
    header = Header(TAG, reference, 0, layers)
    return Packet(Kind.DELTA, TAG, sequence, 0, body, layers=layers, reference=header)


def test_a_key_frame_stands_alone() -> None:
    packet = Packet(Kind.KEY, TAG, 9, 0, compress(_frame(9), TABLES, layers=2), layers=2)
    frame = decode(packet, TABLES, {})
    np.testing.assert_array_equal(frame.symbols, _frame(9)[:4])
    np.testing.assert_array_equal(frame.own, _frame(9)[:4])


def test_a_delta_needs_its_reference() -> None:
    at_hand = {7: _decoded(7, 4, 4)}
    np.testing.assert_array_equal(decode(_delta(9, 7), TABLES, at_hand).symbols, _frame(9)[:4])
    with pytest.raises(ReferenceMissing, match="frame 7 is needed"):
        decode(_delta(9, 7), TABLES, {8: _decoded(8, 4, 4)})


def test_a_delta_refers_to_the_frame_without_its_refinements() -> None:
    """The device may send it before, or after, or without ever sending the refinement."""
    delta = _delta(9, 7, layers=1)
    for tokens in (2, 4, 6):
        frame = decode(delta, TABLES, {7: _decoded(7, 2, tokens)})
        np.testing.assert_array_equal(frame.symbols, _frame(9)[:2])


def test_a_refinement_needs_its_own_frame() -> None:
    body = compress(_frame(9), TABLES, first_layer=1, layers=2)
    packet = Packet(Kind.REFINE, TAG, 9, 0, body, first_layer=1, layers=2)
    # One that had been refined already is not refined twice.
    for tokens in (2, 4, 6):
        frame = decode(packet, TABLES, {9: _decoded(9, 2, tokens)})
        np.testing.assert_array_equal(frame.symbols, _frame(9))
        np.testing.assert_array_equal(frame.own, _frame(9)[:2])
    with pytest.raises(ReferenceMissing):
        decode(packet, TABLES, {})


def test_a_refinement_needs_the_layers_below_it() -> None:
    body = compress(_frame(9), TABLES, first_layer=2)
    packet = Packet(Kind.REFINE, TAG, 9, 0, body, first_layer=2)
    with pytest.raises(ReferenceMissing):
        decode(packet, TABLES, {9: _decoded(9, 2, 2)})


def test_the_key_payload_of_a_delta_is_the_devices_own() -> None:
    delta = _delta(9, 7)
    context = Context("pi", "door", 1)
    frame = decode(delta, TABLES, {7: _decoded(7, 4, 4)})
    body = compress(_frame(9), TABLES, layers=2)
    kept = pack(replace(delta, kind=Kind.KEY, body=body, reference=None), context)
    assert key_payload(delta.header, frame.own, TABLES, context) == kept


def test_layers_that_the_bundle_does_not_have() -> None:
    packet = Packet(Kind.KEY, TAG, 9, 0, compress(_frame(9), TABLES), layers=4)
    with pytest.raises(PayloadMalformed):
        decode(packet, TABLES, {})


def test_a_caption_has_no_symbols() -> None:
    with pytest.raises(PayloadMalformed, match="came as LOCAL"):
        decode(
            Packet(Kind.LOCAL, TAG, 9, 0, pack_local(Local(Why.ASKED, 0.5, "a bus"))), TABLES, {}
        )


# What an attacker might make of genuine payloads.

PLAIN = Context("porch", "door", 1_767_225_600_000)
KEYED = replace(PLAIN, key=bytes(range(32)))
REFERENCES = (Header(TAG, 7, 0, 2),)
GENUINE = (
    Packet(Kind.KEY, TAG, 9, 5, compress(_frame(9), TABLES, layers=3), layers=3),
    _delta(9, 7),
    Packet(Kind.REFINE, TAG, 7, 5, compress(_frame(7), TABLES, first_layer=2, layers=1), 2, 1),
    Packet(Kind.LOCAL, TAG, 9, 5, pack_local(Local(Why.ASKED, 0.9, "a red bus waits"))),
    Packet(Kind.IMAGE, TAG, 9, 5, b"\xff\xd8\xff" + bytes(8)),
)


def _receive(payload: bytes, context: Context) -> None:
    packet = unpack(payload, context, REFERENCES)
    if packet.kind not in {Kind.LOCAL, Kind.IMAGE}:
        decode(packet, TABLES, {7: _decoded(7, 4, 4)})


@pytest.mark.parametrize("context", [PLAIN, KEYED], ids=["crc", "mac"])
@pytest.mark.parametrize("packet", GENUINE, ids=lambda packet: packet.kind.name)
def test_one_wrong_bit_is_always_refused(packet: Packet, context: Context) -> None:
    genuine = pack(packet, context)
    _receive(genuine, context)
    for bit in range(8 * len(genuine)):
        wrong = bytearray(genuine)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PayloadError):
            _receive(bytes(wrong), context)


@given(
    st.sampled_from(GENUINE),
    st.sampled_from((PLAIN, KEYED)),
    st.integers(0, 60),
    st.integers(0, 60),
    st.binary(max_size=80),
)
def test_a_spliced_payload_with_a_right_trailer_is_read_or_refused(
    packet: Packet, context: Context, start: int, cut: int, more: bytes
) -> None:
    """Every other exception would be a way to stop an edge node from outside."""
    content = pack(packet, context)[: -context.trailer_bytes]
    content = content[:start] + more + content[start + cut :]
    reference = REFERENCES[0] if packet.kind is Kind.DELTA else None
    with contextlib.suppress(PayloadError):
        _receive(content + context.trailer(content, reference), context)

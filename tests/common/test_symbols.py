from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.errors import PayloadMalformed, ReferenceMissing
from aiflow.common.symbols import Decoded, decode, key_payload
from aiflow.common.wire import Context, Header, Kind, Local, Packet, Why, pack, pack_local

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

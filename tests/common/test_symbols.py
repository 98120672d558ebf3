from __future__ import annotations

import numpy as np
import pytest

from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.errors import PayloadMalformed, ReferenceMissing
from aiflow.common.symbols import reference_of, symbols_of
from aiflow.common.wire import Kind, Packet, pack_local

TABLES = Tables.uniform(6, 3, 5, layers=(2, 4, 6))
TAG = b"\xab\xcd"


def _frame(seed: int) -> Symbols:
    return np.random.default_rng(seed).integers(0, 5, (6, 3)).astype(np.uint8)


def test_a_key_frame_stands_alone() -> None:
    packet = Packet(Kind.KEY, TAG, 9, 0, compress(_frame(9), TABLES, layers=2), layers=2)
    assert reference_of(packet) is None
    np.testing.assert_array_equal(symbols_of(packet, TABLES, {}), _frame(9)[:4])


def test_a_delta_needs_its_reference() -> None:
    body = compress(_frame(9), TABLES, layers=2, reference=_frame(7)[:4])
    packet = Packet(Kind.DELTA, TAG, 9, 0, body, layers=2, reference=7)
    assert reference_of(packet) == 7
    at_hand = {7: _frame(7)[:4]}
    np.testing.assert_array_equal(symbols_of(packet, TABLES, at_hand), _frame(9)[:4])
    with pytest.raises(ReferenceMissing, match="frame 9 needs frame 7"):
        symbols_of(packet, TABLES, {8: _frame(8)})


def test_a_refinement_needs_its_own_frame() -> None:
    body = compress(_frame(9), TABLES, first_layer=1, layers=2)
    packet = Packet(Kind.REFINE, TAG, 9, 0, body, first_layer=1, layers=2)
    assert reference_of(packet) == 9
    np.testing.assert_array_equal(symbols_of(packet, TABLES, {9: _frame(9)[:2]}), _frame(9))
    # One that had been refined already is not refined twice.
    np.testing.assert_array_equal(symbols_of(packet, TABLES, {9: _frame(9)[:4]}), _frame(9))
    with pytest.raises(ReferenceMissing):
        symbols_of(packet, TABLES, {})


def test_a_refinement_needs_the_layers_below_it() -> None:
    body = compress(_frame(9), TABLES, first_layer=2)
    packet = Packet(Kind.REFINE, TAG, 9, 0, body, first_layer=2)
    with pytest.raises(ReferenceMissing):
        symbols_of(packet, TABLES, {9: _frame(9)[:2]})


def test_layers_that_the_bundle_does_not_have() -> None:
    packet = Packet(Kind.KEY, TAG, 9, 0, compress(_frame(9), TABLES), layers=4)
    with pytest.raises(PayloadMalformed):
        symbols_of(packet, TABLES, {})


def test_a_caption_has_no_symbols() -> None:
    with pytest.raises(PayloadMalformed, match="holds a caption"):
        symbols_of(Packet(Kind.LOCAL, TAG, 9, 0, pack_local(0.5, "a bus")), TABLES, {})

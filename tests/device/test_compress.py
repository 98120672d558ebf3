from __future__ import annotations

import numpy as np
import pytest

from aiflow.common.bundle import Bundle
from aiflow.common.codec import Symbols, compress
from aiflow.common.symbols import Decoded, decode
from aiflow.common.wire import Context, Header, Kind, Local, Packet, Why, pack, pack_local, unpack
from aiflow.device.predictor import MAX_FRAMES, Predictor

CONTEXT = Context("pi", "door", 1_700_000_000_000)
STILL = np.ones((6, 3), np.uint8)
TAG = b"\xab\xab"


def moving(sequence: int) -> Symbols:
    """One token differs from frame to frame."""
    symbols = STILL.copy()
    symbols[sequence % 6] = sequence % 5
    return symbols


class Desk:
    """A predictor, and an edge node that remembers everything."""

    def __init__(self, bundle: Bundle, key_every_s: float = 60.0) -> None:
        self.tables = bundle.tables
        self.predictor = Predictor(bundle.tables, CONTEXT, key_every_s=key_every_s)
        self.headers: list[Header] = []
        self.decoded: dict[int, Decoded] = {}

    def key(
        self, sequence: int, symbols: Symbols, layers: int = 2, captured_ms: int | None = None
    ) -> bytes:
        captured_ms = 500 * sequence if captured_ms is None else captured_ms
        body = compress(symbols, self.tables, layers=layers)
        packet = Packet(Kind.KEY, TAG, sequence, captured_ms, body, layers=layers)
        return pack(packet, CONTEXT)

    def send(self, sequence: int, symbols: Symbols, now: float = 0.0, layers: int = 2) -> Packet:
        """What arrives of a frame, found to hold the same symbols."""
        payload = self.predictor.shorten(self.key(sequence, symbols, layers), now)
        packet = unpack(payload, CONTEXT, self.headers)
        self.decoded[sequence] = decode(packet, self.tables, self.decoded)
        tokens = self.tables.layers[layers - 1]
        np.testing.assert_array_equal(self.decoded[sequence].symbols, symbols[:tokens])
        self.headers.append(packet.header)
        return packet

    def refers_to(self, packet: Packet) -> int | None:
        return None if packet.reference is None else packet.reference.sequence


@pytest.fixture
def desk(bundle: Bundle) -> Desk:
    return Desk(bundle)


def test_without_a_receipt_every_frame_is_a_key_frame(desk: Desk) -> None:
    for sequence in range(5):
        assert desk.send(sequence, moving(sequence)).kind is Kind.KEY


def test_the_newest_receipted_frame_is_the_reference(desk: Desk) -> None:
    for sequence in range(4):
        desk.send(sequence, moving(sequence))
    desk.predictor.acknowledged([1, 2])
    assert desk.refers_to(desk.send(4, moving(4))) == 2
    desk.predictor.acknowledged([0])
    assert desk.refers_to(desk.send(5, moving(5))) == 2, "it is newer"
    desk.predictor.acknowledged([4])
    assert desk.refers_to(desk.send(6, moving(6))) == 4, "a delta may be one too"


def test_a_still_scene_costs_a_header(desk: Desk) -> None:
    desk.send(0, STILL)
    desk.predictor.acknowledged([0])
    kept = desk.key(1, STILL)
    delta = desk.predictor.shorten(kept, 0.0)
    assert (len(kept), len(delta)) == (15, 7)


def test_a_delta_that_is_not_shorter_is_not_sent(bundle: Bundle) -> None:
    desk = Desk(bundle)
    zeros, fours = np.zeros((6, 3), np.uint8), np.full((6, 3), 4, np.uint8)
    desk.send(0, fours)
    desk.predictor.acknowledged([0])
    kept = desk.key(1, zeros, captured_ms=2**40)  # long after, so its header is no shorter
    assert desk.predictor.shorten(kept, 0.0) == kept


def test_a_key_frame_that_is_only_shorter_does_not_put_off_the_next_reference(
    bundle: Bundle,
) -> None:
    desk = Desk(bundle, key_every_s=10.0)
    zeros, fours = np.zeros((6, 3), np.uint8), np.full((6, 3), 4, np.uint8)
    desk.send(0, fours)
    desk.predictor.acknowledged([0])
    desk.send(1, fours, now=1.0)
    kept = desk.key(2, zeros, captured_ms=2**40)  # long after, so its header is no shorter
    assert desk.predictor.shorten(kept, 2.0) == kept
    desk.predictor.acknowledged([1])
    assert desk.refers_to(desk.send(3, fours, now=3.0)) == 1
    assert desk.send(4, fours, now=10.0).kind is Kind.KEY, "newcomers wait no longer for it"


def test_key_frames_come_periodically(bundle: Bundle) -> None:
    desk = Desk(bundle, key_every_s=10.0)
    kinds = []
    for sequence in range(42):
        kinds.append(desk.send(sequence, STILL, now=sequence / 2).kind)
        desk.predictor.acknowledged([sequence])
    assert [index for index, kind in enumerate(kinds) if kind is Kind.KEY] == [0, 20, 40]


def test_who_begins_with_a_key_frame_can_read_on_from_its_receipt(bundle: Bundle) -> None:
    desk = Desk(bundle, key_every_s=10.0)
    desk.send(0, STILL)
    desk.predictor.acknowledged([0])
    sent = {sequence: desk.send(sequence, moving(sequence), now=9.0) for sequence in (1, 2)}
    sent |= {sequence: desk.send(sequence, moving(sequence), now=10.0) for sequence in (3, 4, 5)}
    assert sent[3].kind is Kind.KEY
    assert [desk.refers_to(sent[sequence]) for sequence in (2, 4, 5)] == [0, 0, 0]
    desk.predictor.acknowledged([1, 2])  # what came before the key frame
    assert desk.refers_to(desk.send(6, moving(6), now=11.0)) == 0
    desk.predictor.acknowledged([3, 4, 5, 6])  # what followed it cannot be read by a newcomer
    assert desk.refers_to(desk.send(7, moving(7), now=11.5)) == 3
    desk.predictor.acknowledged([7])
    assert desk.refers_to(desk.send(8, moving(8), now=12.0)) == 7


def test_without_prediction_there_are_only_key_frames(bundle: Bundle) -> None:
    desk = Desk(bundle, key_every_s=0.0)
    for sequence in range(3):
        assert desk.send(sequence, STILL).kind is Kind.KEY
        desk.predictor.acknowledged([sequence])


def test_frames_of_other_layers_are_key_frames(desk: Desk) -> None:
    desk.send(0, STILL, layers=2)
    desk.predictor.acknowledged([0])
    assert desk.send(1, STILL, layers=1).kind is Kind.KEY
    desk.predictor.acknowledged([1])
    assert desk.refers_to(desk.send(2, STILL, layers=1)) == 1


def test_a_clock_that_was_set_back_makes_a_key_frame(desk: Desk) -> None:
    desk.send(5, STILL)
    desk.predictor.acknowledged([5])
    kept = desk.key(6, STILL, captured_ms=2499)
    assert desk.predictor.shorten(kept, 0.0) is kept


def test_after_a_reset_only_a_new_receipt_makes_a_reference(desk: Desk) -> None:
    desk.send(0, STILL)
    desk.predictor.acknowledged([0])
    desk.send(1, STILL)
    desk.predictor.reset()
    desk.predictor.acknowledged([1])  # of whoever was there before
    assert desk.send(2, STILL).kind is Kind.KEY
    desk.predictor.acknowledged([2])
    assert desk.refers_to(desk.send(3, STILL)) == 2


def test_what_is_remembered_is_bounded(desk: Desk) -> None:
    for sequence in range(MAX_FRAMES + 10):
        desk.send(sequence, STILL)
    assert len(desk.predictor._unreceipted) == MAX_FRAMES
    desk.predictor.acknowledged([3])  # forgotten
    assert desk.send(200, STILL).kind is Kind.KEY


def test_whatever_else_is_kept_goes_as_it_is(desk: Desk) -> None:
    local = pack(Packet(Kind.LOCAL, TAG, 1, 0, pack_local(Local(Why.ASKED, 0.5, "a bus"))), CONTEXT)
    for kept in (local, b"", b"\x10 rubbish", desk.key(1, STILL)[:-1] + b"\0"):
        assert desk.predictor.shorten(kept, 0.0) is kept


def test_signed_frames(bundle: Bundle) -> None:
    context = Context("pi", "door", 1, bytes(range(16)))
    predictor = Predictor(bundle.tables, context, key_every_s=60.0)
    body = compress(STILL, bundle.tables, layers=2)
    keys = [pack(Packet(Kind.KEY, TAG, one, 0, body, layers=2), context) for one in range(2)]
    predictor.shorten(keys[0], 0.0)
    predictor.acknowledged([0])
    delta = predictor.shorten(keys[1], 0.0)
    assert len(delta) == 4 + 8
    assert unpack(delta, context, [Header(TAG, 0, 0, 2)]).sequence == 1

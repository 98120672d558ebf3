from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aiflow.common.bundle import Bundle
from aiflow.common.codec import Symbols
from aiflow.common.symbols import Decoded, decode
from aiflow.common.wire import (
    Context,
    Header,
    Kind,
    Local,
    Packet,
    Why,
    kind_of,
    pack_local,
    unpack,
)
from aiflow.device import compress as module
from aiflow.device.compress import MAX_FRAMES, Compressor
from aiflow.device.outbox import Entry, Record

CONTEXT = Context("pi", "door", 1_700_000_000_000)
STILL = np.ones((6, 3), np.uint8)
TAG = b"\xab\xab"


def moving(sequence: int) -> Symbols:
    """One token differs from frame to frame."""
    symbols = STILL.copy()
    symbols[sequence % 6] = sequence % 5
    return symbols


class Desk:
    """A compressor, and an edge node that remembers everything."""

    def __init__(self, bundle: Bundle, key_every_s: float = 60.0) -> None:
        self.tables = bundle.tables
        self.compressor = Compressor(bundle.tables, TAG, CONTEXT, key_every_s=key_every_s)
        self.headers: list[Header] = []
        self.decoded: dict[int, Decoded] = {}

    def entry(
        self, sequence: int, symbols: Symbols, layers: int = 2, captured_ms: int | None = None
    ) -> Entry:
        captured_ms = 500 * sequence if captured_ms is None else captured_ms
        body = symbols[: self.tables.layers[layers - 1]].tobytes()
        return Entry(sequence, CONTEXT.epoch_ms, Record(Kind.KEY, captured_ms, body, layers))

    def first(self, entry: Entry, now: float = 0.0) -> bytes:
        payload, is_delta = self.compressor.first(entry, now)
        assert is_delta is (kind_of(payload) == Kind.DELTA)
        return payload

    def send(self, sequence: int, symbols: Symbols, now: float = 0.0, layers: int = 2) -> Packet:
        """What arrives of a frame, found to hold the same symbols."""
        payload = self.first(self.entry(sequence, symbols, layers), now)
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
    desk.compressor.receipted([1, 2])
    assert desk.refers_to(desk.send(4, moving(4))) == 2
    desk.compressor.receipted([0])
    assert desk.refers_to(desk.send(5, moving(5))) == 2, "it is newer"
    desk.compressor.receipted([4])
    assert desk.refers_to(desk.send(6, moving(6))) == 4, "a delta may be one too"


def test_a_still_scene_costs_a_header(desk: Desk) -> None:
    desk.send(0, STILL)
    desk.compressor.receipted([0])
    entry = desk.entry(1, STILL)
    assert (len(desk.compressor.alone(entry)), len(desk.first(entry))) == (15, 7)


def test_a_delta_that_is_not_shorter_is_not_sent(bundle: Bundle) -> None:
    desk = Desk(bundle)
    zeros, fours = np.zeros((6, 3), np.uint8), np.full((6, 3), 4, np.uint8)
    desk.send(0, fours)
    desk.compressor.receipted([0])
    entry = desk.entry(1, zeros, captured_ms=2**40)  # long after, so its header is no shorter
    assert desk.first(entry) == desk.compressor.alone(entry)


def test_a_key_frame_that_is_only_shorter_does_not_put_off_the_next_reference(
    bundle: Bundle,
) -> None:
    desk = Desk(bundle, key_every_s=10.0)
    zeros, fours = np.zeros((6, 3), np.uint8), np.full((6, 3), 4, np.uint8)
    desk.send(0, fours)
    desk.compressor.receipted([0])
    desk.send(1, fours, now=1.0)
    entry = desk.entry(2, zeros, captured_ms=2**40)  # long after, so its header is no shorter
    assert desk.first(entry, 2.0) == desk.compressor.alone(entry)
    desk.compressor.receipted([1])
    assert desk.refers_to(desk.send(3, fours, now=3.0)) == 1
    assert desk.send(4, fours, now=10.0).kind is Kind.KEY, "newcomers wait no longer for it"


def test_key_frames_come_periodically(bundle: Bundle) -> None:
    desk = Desk(bundle, key_every_s=10.0)
    kinds = []
    for sequence in range(42):
        kinds.append(desk.send(sequence, STILL, now=sequence / 2).kind)
        desk.compressor.receipted([sequence])
    assert [index for index, kind in enumerate(kinds) if kind is Kind.KEY] == [0, 20, 40]


def test_who_begins_with_a_key_frame_can_read_on_from_its_receipt(bundle: Bundle) -> None:
    desk = Desk(bundle, key_every_s=10.0)
    desk.send(0, STILL)
    desk.compressor.receipted([0])
    sent = {sequence: desk.send(sequence, moving(sequence), now=9.0) for sequence in (1, 2)}
    sent |= {sequence: desk.send(sequence, moving(sequence), now=10.0) for sequence in (3, 4, 5)}
    assert sent[3].kind is Kind.KEY
    assert [desk.refers_to(sent[sequence]) for sequence in (2, 4, 5)] == [0, 0, 0]
    desk.compressor.receipted([1, 2])  # what came before the key frame
    assert desk.refers_to(desk.send(6, moving(6), now=11.0)) == 0
    desk.compressor.receipted([3, 4, 5, 6])  # what followed it cannot be read by a newcomer
    assert desk.refers_to(desk.send(7, moving(7), now=11.5)) == 3
    desk.compressor.receipted([7])
    assert desk.refers_to(desk.send(8, moving(8), now=12.0)) == 7


def test_without_prediction_there_are_only_key_frames(bundle: Bundle) -> None:
    desk = Desk(bundle, key_every_s=0.0)
    for sequence in range(3):
        assert desk.send(sequence, STILL).kind is Kind.KEY
        desk.compressor.receipted([sequence])


def test_frames_of_other_layers_are_key_frames(desk: Desk) -> None:
    desk.send(0, STILL, layers=2)
    desk.compressor.receipted([0])
    assert desk.send(1, STILL, layers=1).kind is Kind.KEY
    desk.compressor.receipted([1])
    assert desk.refers_to(desk.send(2, STILL, layers=1)) == 1


def test_a_clock_that_was_set_back_makes_a_key_frame(desk: Desk) -> None:
    desk.send(5, STILL)
    desk.compressor.receipted([5])
    entry = desk.entry(6, STILL, captured_ms=2499)
    assert desk.first(entry) == desk.compressor.alone(entry)


def test_after_a_reset_only_a_new_receipt_makes_a_reference(desk: Desk) -> None:
    desk.send(0, STILL)
    desk.compressor.receipted([0])
    desk.send(1, STILL)
    desk.compressor.reset()
    desk.compressor.receipted([1])  # of whoever was there before
    assert desk.send(2, STILL).kind is Kind.KEY
    desk.compressor.receipted([2])
    assert desk.refers_to(desk.send(3, STILL)) == 2


def test_what_is_remembered_is_bounded(desk: Desk) -> None:
    for sequence in range(MAX_FRAMES + 10):
        desk.send(sequence, STILL)
    assert len(desk.compressor._unreceipted) == MAX_FRAMES
    desk.compressor.receipted([3])  # forgotten
    assert desk.send(200, STILL).kind is Kind.KEY


def test_captions_and_pictures_go_as_they_are(desk: Desk) -> None:
    body = pack_local(Local(Why.ASKED, 0.5, "a bus"))
    local = Entry(1, CONTEXT.epoch_ms, Record(Kind.LOCAL, 7, body))
    packet = Packet(Kind.LOCAL, TAG, 1, 7, body)
    assert unpack(desk.first(local), CONTEXT) == packet
    packed = Entry(2, CONTEXT.epoch_ms, Record(None, 0, b"packed by an earlier version"))
    assert desk.compressor.first(packed, 0.0) == (packed.record.body, False)


def test_signed_frames(bundle: Bundle) -> None:
    context = Context("pi", "door", 1, bytes(range(16)))
    compressor = Compressor(bundle.tables, TAG, context, key_every_s=60.0)
    entries = [Entry(one, 1, Record(Kind.KEY, 0, STILL.tobytes(), 2)) for one in range(2)]
    compressor.first(entries[0], 0.0)
    compressor.receipted([0])
    delta, _ = compressor.first(entries[1], 0.0)
    assert len(delta) == 4 + 8
    assert unpack(delta, context, [Header(TAG, 0, 0, 2)]).sequence == 1


def test_a_delta_costs_one_compression_and_one_packing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.send(0, moving(0))
    desk.compressor.receipted([0])
    calls: list[str] = []
    for name in ("compress", "pack"):
        real = getattr(module, name)

        def counted(*args: object, name: str = name, real: Any = real, **how: object) -> object:
            calls.append(name)
            return real(*args, **how)

        monkeypatch.setattr(module, name, counted)
    desk.first(desk.entry(1, moving(1)))
    assert calls == ["compress", "pack"]

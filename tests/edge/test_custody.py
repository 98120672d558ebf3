from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.edge.conftest import Published, due

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.topics import Topics
from aiflow.common.wire import unpack_receipt
from aiflow.edge.custody import HOLD_S, RECEIPT_FRAMES, Custody
from aiflow.edge.ledger import Ledger
from aiflow.edge.received import FrameKey, StreamKey
from aiflow.edge.timers import Timers

if TYPE_CHECKING:
    from tests.edge.conftest import Clock

DOOR = StreamKey("pi", "door", 100)
GATE = StreamKey("pi", "gate", 100)


class Desk:
    """Custody with its surroundings."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self.clock = clock
        self.ledger = ledger
        self.counters = Counters()
        self.timers = Timers(self.counters, clock)
        self.published = Published()
        self.custody = Custody(
            ledger,
            self.published,
            Topics(),
            self.timers,
            self.counters,
            receipt_every_s=0.5,
            clock=clock,
        )

    def ring(self, after_s: float = 0.0) -> None:
        self.clock.now += after_s
        for action in due(self.timers):
            action()

    @property
    def receipts(self) -> list[tuple[StreamKey, list[range]]]:
        streams = {f"aiflow/pi/{stream.camera}/receipt": stream for stream in (DOOR, GATE)}
        return [
            (streams[message.topic], unpack_receipt(message.payload).ranges)
            for message in self.published.sent
        ]


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Desk(ledger, clock)


def test_a_frame_is_taken_once(desk: Desk) -> None:
    frame = FrameKey(DOOR, 1)
    assert desk.custody.admit(frame)
    assert not desk.custody.admit(frame)
    assert desk.counters.value("aiflow_duplicates_total", reason="in_hand") == 1
    assert desk.receipts == []


def test_a_receipt_comes_only_after_the_caption_and_the_ledger(desk: Desk) -> None:
    frame = FrameKey(DOOR, 1)
    desk.custody.admit(frame)
    desk.ring(10)
    assert desk.receipts == []
    desk.custody.captioned(frame)
    assert frame not in desk.ledger
    desk.ring()
    assert frame in desk.ledger
    assert desk.receipts == []
    desk.ring(0.5)
    assert desk.receipts == [(DOOR, [range(1, 2)])]
    assert desk.custody.held == 0


def test_receipts_of_a_stream_are_gathered(desk: Desk) -> None:
    for sequence in (1, 2, 3, 5):
        desk.custody.captioned(FrameKey(DOOR, sequence))
    desk.custody.captioned(FrameKey(GATE, 9))
    desk.ring()
    desk.ring(0.5)
    assert sorted(desk.receipts) == [(DOOR, [range(1, 4), range(5, 6)]), (GATE, [range(9, 10)])]


def test_enough_frames_are_worth_a_receipt_before_its_time(desk: Desk) -> None:
    for sequence in range(RECEIPT_FRAMES - 1):
        desk.custody.captioned(FrameKey(DOOR, sequence))
    desk.ring()
    desk.ring(0.1)
    assert desk.receipts == []
    desk.custody.captioned(FrameKey(DOOR, RECEIPT_FRAMES - 1))
    desk.ring()
    desk.ring()
    assert desk.receipts == [(DOOR, [range(RECEIPT_FRAMES)])]
    desk.custody.captioned(FrameKey(DOOR, RECEIPT_FRAMES))
    desk.ring()
    desk.ring(0.4)
    assert len(desk.receipts) == 1, "the next one waits its own time"
    desk.ring(0.1)
    assert len(desk.receipts) == 2


def test_many_gaps_make_several_receipts(desk: Desk) -> None:
    for sequence in range(0, 200, 2):
        desk.custody.captioned(FrameKey(DOOR, sequence))
    desk.ring()
    desk.ring(0.5)
    assert [len(ranges) for _, ranges in desk.receipts] == [64, 36]


def test_a_captioned_frame_that_comes_again_is_receipted_again(desk: Desk) -> None:
    frame = FrameKey(DOOR, 1)
    desk.custody.captioned(frame)
    desk.ring()
    desk.ring(0.5)
    assert not desk.custody.admit(frame)
    desk.ring(0.5)
    assert desk.receipts == [(DOOR, [range(1, 2)])] * 2
    assert desk.counters.value("aiflow_duplicates_total", reason="captioned") == 1


def test_a_released_frame_is_taken_again(desk: Desk) -> None:
    frame = FrameKey(DOOR, 1)
    desk.custody.admit(frame)
    desk.custody.release(frame)
    assert desk.custody.admit(frame)


def test_a_frame_held_too_long_is_taken_again(desk: Desk) -> None:
    frame = FrameKey(DOOR, 1)
    desk.custody.admit(frame)
    desk.clock.now += HOLD_S
    assert desk.custody.admit(frame)
    assert desk.custody.held == 1


def test_what_is_held_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiflow.edge.custody.MAX_HELD", 3)
    for sequence in range(5):
        assert desk.custody.admit(FrameKey(DOOR, sequence))
    assert desk.custody.held == 3
    assert desk.custody.admit(FrameKey(DOOR, 0))


def test_a_ledger_that_fails_holds_back_no_receipt(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_frames: object) -> None:
        raise StorageError("ledger: database or disk is full")

    monkeypatch.setattr(desk.ledger, "mark", fail)
    desk.custody.captioned(FrameKey(DOOR, 1))
    desk.ring()
    desk.ring(0.5)
    assert desk.receipts == [(DOOR, [range(1, 2)])]
    assert desk.counters.value("aiflow_storage_errors_total", reason="ledger") == 1
    assert "disk is full" in caplog.text


def test_closing_settles_and_sends_at_once(desk: Desk) -> None:
    desk.custody.captioned(FrameKey(DOOR, 1))
    desk.custody.close()
    assert desk.receipts == [(DOOR, [range(1, 2)])]
    assert FrameKey(DOOR, 1) in desk.ledger
    desk.ring(10)
    assert len(desk.receipts) == 1


def test_waiting_until_nothing_is_in_hand(desk: Desk) -> None:
    frame = FrameKey(DOOR, 1)
    assert desk.custody.wait_empty(0.0)
    desk.custody.admit(frame)
    assert not desk.custody.wait_empty(0.01)
    desk.custody.captioned(frame)
    desk.custody.settle()
    assert desk.custody.wait_empty(0.0)

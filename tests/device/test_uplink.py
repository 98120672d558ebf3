from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import Kind
from aiflow.device import uplink as module
from aiflow.device.budget import Budget
from aiflow.device.camera_topics import CameraTopics
from aiflow.device.compress import Compressor
from aiflow.device.edge_health import EdgeHealth, HealthLimits
from aiflow.device.local_caption import LocalCaptions
from aiflow.device.outbox import Entry, Outbox, Record
from aiflow.device.stages import Stages
from aiflow.device.uplink import MAX_REMEMBERED, RETRY_S, SESSION_S, TICK_S, Sending, Uplink

LIMITS = HealthLimits(offline_s=1, silence_s=5, return_s=3, unanswered_s=0.8, deadline_s=2.0)
NOW_MS = 1_700_000_000_000


class FakeTopics:
    """Takes payloads as long as it `takes` them."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.sendings: list[tuple[bytes, bool]] = []
        self.descriptors: list[bytes] = []
        self.takes = 10**6
        self.captions: list[int] = []
        self.accept: dict[int, Callable[[], None]] = {}

    def descriptor(self, descriptor: bytes) -> None:
        self.descriptors.append(descriptor)

    def embedding(self, payload: bytes, *, ask_broker: bool, **_: object) -> int:
        if self.takes <= 0:
            return 0
        self.takes -= 1
        self.got.append(int(payload.split()[1]))
        self.sendings.append((payload, ask_broker))
        return 30

    def publish(self, entry: Entry, payload_bytes: int, on_accepted: Callable[[], None]) -> int:
        """A caption of the device's own."""
        if self.takes <= 0:
            return 0
        self.takes -= 1
        self.captions.append(entry.sequence)
        self.accept[entry.sequence] = on_accepted
        return 100

    def taken(self) -> list[int]:
        got, self.got = self.got, []
        return got


class FakeCompressor:
    """Makes a delta of every frame once `able`."""

    able = False
    resets = 0
    acks: list[int]

    def __init__(self) -> None:
        self.acks = []
        self.epochs: list[int] = []

    def first(self, entry: Entry, now: float) -> tuple[bytes, bool]:
        return (b"d %d" % entry.sequence, True) if self.able else (self.alone(entry), False)

    def alone(self, entry: Entry) -> bytes:
        return b"frame %d" % entry.sequence

    def receipted(self, sequences: Iterable[int]) -> None:
        self.acks += sequences

    def reset(self) -> None:
        self.resets += 1

    def of(self, epoch_ms: int) -> Compressor:
        self.epochs.append(epoch_ms)
        return cast("Compressor", self)


class Desk:
    """An uplink on a real outbox, with everything beyond made up, and a clock."""

    def __init__(self, path: Path, *, max_entries: int = 10_000, read: Any = None) -> None:
        self.now = 0.0
        self.now_ms = NOW_MS
        self.topics = FakeTopics()
        self.compressor = FakeCompressor()
        self.health = EdgeHealth(["door"], LIMITS, measures=False, now=0.0)
        self.work = threading.Event()
        self.outbox = Outbox(path, max_entries=max_entries, max_bytes=10**8, counters=Counters())
        self.uplink = Uplink(
            "door",
            "x",
            outbox=self.outbox,
            topics=cast("CameraTopics", self.topics),
            local=cast("LocalCaptions", self.topics),
            health=self.health,
            budget=Budget(None, layers=2, symbols=1, now=0.0),
            stages=Stages(),
            sending=Sending(window=4, resend_after_s=5, resend_max_s=20),
            compressor=self.compressor.of,
            work=self.work,
            clock=lambda: self.now,
        )

    def connect(self) -> None:
        self.uplink.again()
        self.health.connected_again(self.now)
        self.health.node("edge1", self.now, online=True)

    def put(self, *kinds: Kind) -> None:
        for kind in kinds:
            self.uplink.put(Record(kind, 0, b"body"))

    def keys(self, count: int) -> None:
        self.put(*[Kind.KEY] * count)

    def step(self, now: float) -> float:
        self.now = now
        return self.uplink.step()

    def receipt(self, *sequences: int, now: float | None = None) -> None:
        self.now = self.now if now is None else now
        self.uplink.receipt([range(one, one + 1) for one in sequences])

    def stored(self) -> list[int]:
        self.uplink.flush()
        return [entry.sequence for entry in self.outbox.after("door", -1, 10_000)]


@pytest.fixture
def new_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []
    monkeypatch.setattr(module, "_now_ms", lambda: desks[-1].now_ms if desks else NOW_MS)

    def make(**how: Any) -> Desk:
        for desk in desks:
            desk.outbox.close()
        desks.append(Desk(tmp_path / "outbox.sqlite", **how))
        return desks[-1]

    yield make
    for desk in desks:
        desk.outbox.close()


@pytest.fixture
def desk(new_desk: Callable[..., Desk]) -> Desk:
    """Connected, with an edge node."""
    desk = new_desk()
    desk.connect()
    return desk


def test_a_frame_leaves_at_once_and_without_the_send_loop(desk: Desk) -> None:
    desk.keys(3)
    assert desk.topics.taken() == [0, 1, 2]
    assert not desk.work.is_set()
    assert desk.step(1) == TICK_S
    assert desk.topics.taken() == []


def test_what_cannot_leave_at_once_is_the_send_loops(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.keys(2)
    assert desk.work.is_set()
    assert desk.topics.taken() == []
    desk.connect()
    desk.step(0)
    assert desk.topics.taken() == [0, 1]
    desk.work.clear()
    desk.keys(1)
    assert desk.topics.taken() == [2]
    assert not desk.work.is_set()


def test_window_opens_with_receipts(desk: Desk) -> None:
    desk.keys(10)
    assert desk.topics.taken() == [0, 1, 2, 3]
    desk.work.clear()
    desk.receipt(1, 2, now=1)
    assert desk.work.is_set(), "there is room"
    desk.step(1)
    assert desk.topics.taken() == [4, 5]
    assert desk.stored() == [0, 3, 4, 5, 6, 7, 8, 9]
    assert (desk.uplink.in_flight, desk.uplink.receipted) == (4, 2)


def test_frame_without_receipt_is_sent_again_ever_more_seldom(desk: Desk) -> None:
    desk.keys(1)
    times = []
    now = 0.0
    for _ in range(6):
        assert desk.topics.taken() == [0]
        began = now
        while not desk.topics.got:
            now += 1
            desk.step(now)
        times.append(now - began)
    assert times == [5, 10, 20, 20, 20, 20]
    assert (desk.uplink.sent, desk.uplink.resent) == (1, 6)


def test_receipt_ends_the_repetition(desk: Desk) -> None:
    desk.keys(2)
    desk.receipt(0, 1, now=1)
    desk.step(100)
    assert desk.topics.taken() == [0, 1]
    assert desk.stored() == []


def test_receipt_covers_only_what_was_sent(desk: Desk) -> None:
    desk.keys(6)
    desk.topics.taken()
    desk.uplink.receipt([range(2**40)])
    assert desk.stored() == [4, 5]
    desk.step(1)
    assert desk.topics.taken() == [4, 5]


def test_receipted_frames_leave_the_disk_with_the_next_one(desk: Desk) -> None:
    desk.keys(2)
    desk.receipt(0, 1)
    desk.keys(1)
    assert [entry.sequence for entry in desk.outbox.after("door", -1, 9)] == [2]


def test_connection_that_comes_back_sends_all_again_at_once(desk: Desk) -> None:
    desk.keys(2)
    desk.receipt(0)
    desk.health.disconnected(0)
    desk.keys(1)
    desk.topics.taken()
    desk.now = 1
    desk.connect()
    desk.step(1)
    assert desk.topics.taken() == [1, 2]
    desk.step(5.9)
    assert desk.topics.taken() == []
    desk.step(6)
    assert desk.topics.taken() == [1, 2], "the pauses begin anew"


def test_frame_that_the_outbox_dropped_is_not_sent_again(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk(max_entries=2)
    desk.connect()
    desk.keys(2)
    desk.health.disconnected(0)
    desk.keys(1)
    desk.topics.taken()
    desk.connect()
    desk.step(5)
    assert desk.topics.taken() == [1, 2]
    assert desk.uplink.in_flight == 2


def test_session_that_takes_no_more(desk: Desk) -> None:
    desk.topics.takes = 1
    desk.keys(3)
    assert desk.step(0) == RETRY_S
    assert desk.topics.taken() == [0]
    desk.topics.takes = 10
    desk.step(1)
    assert desk.topics.taken() == [1, 2]
    desk.topics.takes = 0
    assert desk.step(20) == RETRY_S
    desk.topics.takes = 10
    desk.step(21)
    assert desk.topics.taken() == [0, 1, 2]


def test_frames_of_an_earlier_run_are_sent_first(new_desk: Callable[..., Desk]) -> None:
    new_desk().keys(3)
    desk = new_desk()
    desk.connect()
    desk.keys(1)
    assert desk.topics.taken() == []
    desk.step(0)
    assert desk.topics.taken() == [0, 1, 2, 3]


def test_only_after_a_restart_the_disk_is_read(
    new_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = new_desk()
    reads: list[int] = []
    real = desk.outbox.after

    def after(camera: str, sequence: int, limit: int) -> list[Entry]:
        reads.append(sequence)
        return real(camera, sequence, limit)

    monkeypatch.setattr(desk.outbox, "after", after)
    desk.keys(3)
    desk.connect()
    desk.step(0)
    desk.keys(3)
    desk.receipt(0, 1, 2, 3)
    desk.step(1)
    desk.health.disconnected(2)
    desk.keys(2)
    desk.connect()
    desk.step(3)
    assert sorted(set(desk.topics.taken())) == list(range(8))
    assert reads == []


def test_what_waits_in_memory_is_bounded(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.keys(MAX_REMEMBERED + 20)
    assert len(desk.uplink._memory.entries) == MAX_REMEMBERED
    desk.connect()
    while desk.uplink.receipted < MAX_REMEMBERED + 20:
        desk.step(desk.now + 0.1)
        desk.receipt(*range(MAX_REMEMBERED + 20))
    assert desk.topics.taken() == list(range(MAX_REMEMBERED + 20))
    assert desk.stored() == []


def test_what_is_sent_again_stands_alone(desk: Desk) -> None:
    desk.compressor.able = True
    desk.keys(2)
    desk.receipt(0, now=1)
    desk.step(5)
    assert [payload for payload, _ in desk.topics.sendings] == [b"d 0", b"d 1", b"frame 1"]
    assert desk.compressor.acks == [0]


def test_deltas_that_cannot_be_read_go_again_at_once(desk: Desk) -> None:
    desk.keys(1)
    desk.compressor.able = True
    desk.keys(2)
    desk.topics.sendings.clear()
    resets = desk.compressor.resets
    desk.now = 2
    desk.uplink.key_frames()
    assert desk.compressor.resets == resets + 1
    assert desk.work.is_set()
    desk.step(2)
    assert [payload for payload, _ in desk.topics.sendings] == [b"frame 1", b"frame 2"]
    desk.topics.sendings.clear()
    desk.now = 3
    desk.uplink.key_frames()
    desk.step(3)
    assert desk.topics.sendings == [], "they have gone as key frames"


def test_broker_is_asked_where_a_refusal_would_go_unseen(desk: Desk) -> None:
    """The first message of a connection, and whatever is sent again."""
    desk.keys(2)
    desk.step(5)
    desk.receipt(0, 1)
    desk.health.disconnected(6)
    resets = desk.compressor.resets
    desk.connect()
    assert desk.compressor.resets == resets + 1
    desk.keys(2)
    assert [ask for _, ask in desk.topics.sendings] == [True, False, True, True, True, False]


def test_silence_is_told_of_what_was_sent_in_this_connection(desk: Desk) -> None:
    desk.now = 2
    desk.keys(1)
    desk.step(7)
    assert desk.health.silent_since("door") == 2, "sending again is no news"
    desk.receipt(0, now=8)
    desk.now = 9
    desk.keys(1)
    assert desk.health.silent_since("door") == 9
    desk.now = 10
    desk.connect()
    desk.step(11)
    assert desk.health.silent_since("door") == 11


BOTH = (Kind.KEY, Kind.LOCAL)


def test_without_a_node_captions_of_our_own_are_published(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.put(*BOTH * 4)
    desk.uplink.publish_captions()
    assert desk.topics.captions == [1, 3, 5, 7]
    desk.topics.accept[3]()
    assert desk.stored() == [0, 1, 2, 4, 5, 6, 7]
    desk.put(*BOTH)
    desk.uplink.publish_captions()
    assert desk.topics.captions == [1, 3, 5, 7, 9], "each once"
    desk.uplink.again()
    desk.topics.takes = 1
    assert desk.uplink.publish_captions() == RETRY_S
    assert desk.topics.captions[5:] == [1], "the connection was lost before the broker had them"
    desk.topics.takes = 10
    desk.uplink.publish_captions()
    assert desk.topics.captions[6:] == [5, 7, 9]


def test_what_is_published_is_not_sent_again(desk: Desk) -> None:
    desk.put(Kind.LOCAL)
    assert desk.topics.taken() == [0]
    desk.uplink.publish_captions()
    desk.topics.accept[0]()
    assert desk.uplink.in_flight == 0
    desk.step(100)
    assert desk.topics.taken() == []
    assert desk.stored() == []


def test_a_full_disk_keeps_what_is_to_be_forgotten_in_mind(desk: Desk) -> None:
    desk.keys(1)
    desk.receipt(0)
    desk.outbox._file._database.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError):
        desk.keys(1)
    with pytest.raises(StorageError):
        desk.uplink.flush()
    desk.outbox._file._database.execute("PRAGMA query_only = OFF")
    assert desk.stored() == []


# The clock was set: a new session.


def test_a_new_session_waits_for_the_receipts_of_the_one_before(desk: Desk) -> None:
    desk.uplink.describe(b"old")
    desk.keys(2)
    desk.now_ms += 400 * 86_400_000
    desk.uplink.begin_session()
    desk.uplink.describe(b"new")
    desk.keys(1)
    desk.step(1)
    assert (desk.topics.taken(), desk.topics.descriptors) == ([0, 1], [b"old"])
    desk.receipt(0, 1, now=2)
    desk.step(2)
    assert (desk.topics.taken(), desk.topics.descriptors) == ([2], [b"old", b"new"])
    assert desk.compressor.epochs == [NOW_MS, NOW_MS + 400 * 86_400_000]
    desk.keys(1)
    assert desk.topics.taken() == [3]


def test_a_new_session_begins_at_once_when_nothing_waits(desk: Desk) -> None:
    desk.keys(1)
    desk.receipt(0)
    desk.now_ms -= 3_600_000
    desk.uplink.begin_session()
    desk.uplink.describe(b"new")
    desk.keys(1)
    assert (desk.topics.taken(), desk.topics.descriptors) == ([0, 1], [b"new"])
    assert desk.outbox.get("door", 1) == Entry(1, NOW_MS - 3_600_000, Record(Kind.KEY, 0, b"body"))


def test_sessions_go_on_after_a_restart(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.uplink.describe(b"old")
    desk.keys(1)
    desk.now_ms += 5_000
    desk.uplink.begin_session()
    desk.uplink.describe(b"new")
    desk.keys(1)
    desk = new_desk()
    desk.now_ms = NOW_MS + 9_000
    desk.connect()
    desk.step(0)
    assert (desk.topics.taken(), desk.topics.descriptors) == ([0], [b"old"])
    desk.receipt(0)
    desk.step(1)
    assert (desk.topics.taken(), desk.topics.descriptors) == ([1], [b"old", b"new"])


def test_a_session_that_gets_no_receipts_does_not_hold_up_the_next(desk: Desk) -> None:
    desk.uplink.describe(b"old")
    desk.keys(1)
    desk.now_ms += 5_000
    desk.uplink.begin_session()
    desk.keys(1)
    desk.step(SESSION_S - 1)
    assert set(desk.topics.taken()) == {0}
    desk.step(SESSION_S + 1)
    assert desk.topics.taken() == [1]
    counters = desk.outbox.counters
    assert counters.value("aiflow_outbox_dropped_total", reason="session") == 1


def test_without_an_edge_node_an_old_session_is_kept(desk: Desk) -> None:
    desk.keys(1)
    desk.now_ms += 5_000
    desk.uplink.begin_session()
    desk.keys(1)
    desk.health.node("edge1", 1, online=False)
    desk.step(SESSION_S * 10)
    assert desk.stored() == [0, 1]

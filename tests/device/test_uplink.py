from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from aiflow.common.wire import Why
from aiflow.device.outbox import Entry
from aiflow.device.sender import RETRY_S, SETTLE_S, Peers, Sender


class FakeStore:
    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}

    def put(self, *sequences: int) -> None:
        for sequence in sequences:
            self.entries[sequence] = Entry(sequence, b"frame %d" % sequence)

    def after(self, sequence: int, limit: int) -> list[Entry]:
        return [self.entries[one] for one in sorted(self.entries) if one > sequence][:limit]

    def get(self, sequence: int) -> Entry | None:
        return self.entries.get(sequence)

    def remove(self, sequences: Iterable[int]) -> int:
        return sum(self.entries.pop(one, None) is not None for one in list(sequences))


class FakeBroker:
    def __init__(self) -> None:
        self.got: list[int] = []
        self.sendings: list[tuple[bytes, bool, bool]] = []
        self.takes = math.inf
        self.told: list[int] = []

    def publish(self, payload: bytes, *, first: bool, ask_broker: bool) -> bool:
        if self.takes <= 0:
            return False
        self.takes -= 1
        self.got.append(int(payload.split()[1]))
        self.sendings.append((payload, first, ask_broker))
        return True

    def tell(self, entry: Entry) -> bool | None:
        """Odd frames carry a caption of their own."""
        if entry.sequence % 2 == 0:
            return None
        if self.takes <= 0:
            return False
        self.takes -= 1
        self.told.append(entry.sequence)
        return True

    def taken(self) -> list[int]:
        got, self.got = self.got, []
        return got


class FakePredictor:
    """Shortens every frame once `able`."""

    def __init__(self) -> None:
        self.able = False
        self.acks: list[int] = []
        self.resets = 0

    def shorten(self, kept: bytes, now: float) -> bytes:
        return kept.replace(b"frame", b"d") if self.able else kept

    def acknowledged(self, sequences: Iterable[int]) -> None:
        self.acks += sequences

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def sender(store: FakeStore, broker: FakeBroker, predictor: FakePredictor) -> Sender:
    return Sender(
        store,
        broker.publish,
        predictor,
        tell=broker.tell,
        window=4,
        resend_after_s=5,
        resend_max_s=20,
    )


def test_everything_is_sent_once_in_order(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(0, 1, 2)
    assert sender.step(0) == 5
    assert broker.taken() == [0, 1, 2]
    assert sender.step(1) == 4
    assert broker.taken() == []


def test_nothing_to_do(sender: Sender) -> None:
    assert sender.step(0) == math.inf


def test_window_opens_with_receipts(sender: Sender, store: FakeStore, broker: FakeBroker) -> None:
    store.put(*range(10))
    sender.step(0)
    assert broker.taken() == [0, 1, 2, 3]
    sender.receipt([range(1, 3)], 1)
    sender.step(1)
    assert broker.taken() == [4, 5]
    assert sorted(store.entries) == [0, 3, 4, 5, 6, 7, 8, 9]
    assert (sender.in_flight, sender.receipted) == (4, 2)


def test_frame_without_receipt_is_sent_again_ever_more_seldom(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(0)
    times = []
    now = 0.0
    for _ in range(6):
        pause = sender.step(now)
        assert broker.taken() == [0]
        times.append(pause)
        now += pause
    assert times == [5, 10, 20, 20, 20, 20]
    assert (sender.sent, sender.resent) == (1, 5)


def test_receipt_ends_the_repetition(sender: Sender, store: FakeStore, broker: FakeBroker) -> None:
    store.put(0, 1)
    sender.step(0)
    sender.receipt([range(2)], 1)
    assert sender.step(100) == math.inf
    assert broker.taken() == [0, 1]
    assert store.entries == {}


def test_receipt_covers_only_what_was_sent(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(*range(6))
    sender.step(0)
    broker.taken()
    sender.receipt([range(2**40)], 1)
    assert sorted(store.entries) == [4, 5]
    sender.step(1)
    assert broker.taken() == [4, 5]


def test_connection_that_comes_back_sends_all_again_at_once(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(0, 1)
    sender.step(0)
    sender.receipt([range(1)], 1)
    store.put(2)
    broker.taken()
    sender.again(1)
    sender.step(1)
    assert broker.taken() == [1, 2]
    assert sender.step(1) == 5, "the pauses begin anew"


def test_frame_that_the_outbox_dropped_is_not_sent_again(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(0, 1)
    sender.step(0)
    broker.taken()
    del store.entries[0]
    sender.step(5)
    assert broker.taken() == [1]
    assert sender.in_flight == 1


def test_session_that_takes_no_more(sender: Sender, store: FakeStore, broker: FakeBroker) -> None:
    store.put(0, 1, 2)
    broker.takes = 1
    assert sender.step(0) == RETRY_S
    assert broker.taken() == [0]
    broker.takes = math.inf
    sender.step(1)
    assert broker.taken() == [1, 2]
    broker.takes = 0
    assert sender.step(20) == RETRY_S
    broker.takes = math.inf
    sender.step(21)
    assert broker.taken() == [0, 1, 2]


def test_frames_of_an_earlier_run_are_sent_first(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(70, 71)
    sender.step(0)
    store.put(72)
    sender.step(1)
    assert broker.taken() == [70, 71, 72]


def test_what_is_sent_again_goes_as_it_is_kept(
    sender: Sender, store: FakeStore, broker: FakeBroker, predictor: FakePredictor
) -> None:
    predictor.able = True
    store.put(0, 1)
    sender.step(0)
    sender.receipt([range(1)], 1)
    sender.step(5)
    assert [payload for payload, *_ in broker.sendings] == [b"d 0", b"d 1", b"frame 1"]
    assert [first for _, first, _ in broker.sendings] == [True, True, False]
    assert predictor.acks == [0]


def test_deltas_that_cannot_be_read_go_again_at_once(
    sender: Sender, store: FakeStore, broker: FakeBroker, predictor: FakePredictor
) -> None:
    store.put(0)
    sender.step(0)
    predictor.able = True
    store.put(1, 2)
    sender.step(1)
    broker.sendings.clear()
    sender.key_frames(2)
    assert predictor.resets == 1
    sender.step(2)
    assert [payload for payload, *_ in broker.sendings] == [b"frame 1", b"frame 2"]
    broker.sendings.clear()
    sender.key_frames(3)
    sender.step(3)
    assert broker.sendings == [], "they have gone as key frames"


def test_broker_is_asked_where_a_refusal_would_go_unseen(
    sender: Sender, store: FakeStore, broker: FakeBroker, predictor: FakePredictor
) -> None:
    """The first message of a connection, and whatever is sent again."""
    store.put(0, 1)
    sender.step(0)
    sender.step(5)
    sender.receipt([range(2)], 1)
    sender.again(6)
    assert predictor.resets == 1
    store.put(2, 3)
    sender.step(6)
    assert [ask for *_, ask in broker.sendings] == [True, False, True, True, True, False]


def test_peers_wait_for_a_connection_and_then_for_word_of_a_node() -> None:
    peers = Peers(0)
    assert peers.wait_s(0) == math.inf
    peers.connected(10)
    assert peers.wait_s(10) == SETTLE_S
    assert peers.wait_s(10 + SETTLE_S) == 0
    peers.disconnected(15)
    assert peers.wait_s(20) == math.inf


def test_peers_know_who_comes_back() -> None:
    peers = Peers(0)
    peers.connected(0)
    assert peers.node("a", 1, online=True)
    assert peers.wait_s(0) == 0, "nobody need be waited for"
    assert not peers.node("a", 1, online=True), "it has been there"
    assert not peers.node("a", 1, online=False)
    assert peers.wait_s(100) == math.inf, "all who spoke are offline"
    assert not peers.node("b", 1, online=False)
    assert peers.node("a", 1, online=True)
    assert peers.wait_s(100) == 0
    peers.connected(200)
    assert peers.node("a", 1, online=True), "after a reconnect nothing is certain"


def test_peers_tell_what_is_wrong_and_since_when() -> None:
    peers = Peers(3)
    assert peers.troubles() == {Why.DISCONNECTED: 3}
    peers.connected(10)
    assert peers.troubles() == {}
    peers.node("a", 11, online=False)
    peers.node("b", 12, online=False)
    assert peers.troubles() == {Why.NO_NODE: 11}
    peers.node("b", 13, online=True)
    assert peers.troubles() == {}
    peers.node("b", 14, online=False)
    assert peers.troubles() == {Why.NO_NODE: 14}
    peers.disconnected(15)
    peers.disconnected(16)
    assert peers.troubles() == {Why.DISCONNECTED: 15}


def test_silence_begins_with_the_first_frame_sent_after_a_receipt(
    sender: Sender, store: FakeStore
) -> None:
    assert sender.silent_since() == math.inf
    store.put(0, 1)
    sender.step(2)
    store.put(2)
    sender.step(3)
    assert sender.silent_since() == 2
    sender.receipt([range(1, 2)], 4)
    assert sender.silent_since() == math.inf, "frame 0 may be one that nobody can read"
    store.put(3)
    sender.step(5)
    assert sender.silent_since() == 5
    sender.through(5.5)
    assert sender.silent_since() == 5.5
    sender.again(6)
    assert sender.silent_since() == math.inf
    sender.step(7)
    assert sender.silent_since() == 7


def test_without_a_node_captions_of_our_own_are_published(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(*range(8))
    assert sender.tell() == math.inf
    assert broker.told == [1, 3, 5, 7]
    sender.published(3)
    assert sorted(store.entries) == [0, 1, 2, 4, 5, 6, 7]
    store.put(8, 9)
    sender.tell()
    assert broker.told == [1, 3, 5, 7, 9], "each once"
    sender.again(1)
    broker.takes = 1
    assert sender.tell() == RETRY_S
    assert broker.told[5:] == [1], "the connection was lost before the broker had accepted them"
    broker.takes = math.inf
    sender.tell()
    assert broker.told[6:] == [5, 7, 9]


def test_what_is_published_is_not_sent_again(
    sender: Sender, store: FakeStore, broker: FakeBroker
) -> None:
    store.put(1)
    sender.step(0)
    assert broker.taken() == [1]
    sender.tell()
    sender.published(1)
    assert sender.in_flight == 0
    sender.step(100)
    assert broker.taken() == []


def test_a_broker_without_a_node_is_deserted() -> None:
    peers = Peers(0)
    assert not peers.deserted(100), "there is no broker"
    peers.connected(100)
    assert not peers.deserted(100), "a node may be about to speak"
    assert peers.deserted(100 + SETTLE_S)
    peers.node("a", 101, online=True)
    assert not peers.deserted(200)
    peers.node("a", 201, online=False)
    assert peers.deserted(201)


def test_peers_are_bounded() -> None:
    peers = Peers(0)
    peers.connected(0)
    for number in range(1000):
        peers.node(f"n{number}", 1, online=False)
    assert not peers.node("one more", 1, online=True)
    assert len(peers._nodes) == 64

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import pytest

from aiflow.common.messages import Caption
from aiflow.common.mqtt import Outgoing, Reason, Session
from aiflow.common.topics import Topics
from aiflow.common.wire import Kind, Local, Why, pack_local
from aiflow.device.local_caption import LocalCaptions
from aiflow.device.outbox import Entry, Record


class FakeSession:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.answers: list[Callable[[Reason | None], None]] = []
        self.takes = 100

    def publish(self, message: Outgoing) -> bool:
        assert message.qos == 1
        if self.takes <= 0:
            return False
        self.takes -= 1
        self.sent.append((message.topic, message.payload, message.retain))
        assert message.on_accepted is not None
        self.answers.append(message.on_accepted)
        return True


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def accepted() -> list[int]:
    return []


@pytest.fixture
def epoch_ms() -> int:
    return round(time.time() * 1000) - 60_000


@pytest.fixture
def publish(session: FakeSession, accepted: list[int]) -> Callable[[Entry], int]:
    captions = LocalCaptions(cast("Session", session), Topics(), "pi", "door", "ab" * 32)
    return lambda entry: captions.publish(entry, 20, lambda: accepted.append(entry.sequence))


def entry(epoch_ms: int, captured_ms: int = 59_500) -> Entry:
    body = pack_local(Local(Why.NO_NODE, 0.8, "a red bus"))
    return Entry(5, epoch_ms, Record(Kind.LOCAL, captured_ms, body))


def test_a_caption_goes_out_as_an_edge_node_would_publish_it(
    publish: Callable[[Entry], int], session: FakeSession, epoch_ms: int
) -> None:
    size = publish(entry(epoch_ms))
    (topic, message, retain), (other, same, not_retained) = session.sent
    assert (topic, retain) == ("aiflow/pi/door/caption", True)
    assert (other, not_retained) == ("aiflow/pi/door/event", False)
    assert message == same
    caption = Caption.from_json(message)
    assert caption.id == f"pi/door/{epoch_ms:x}-5"
    assert (caption.text, caption.confidence, caption.tier) == ("a red bus", 0.8, "device")
    assert caption.reason == "captioned on the device: no edge node was online"
    assert not caption.late
    assert 0.4 < caption.latency_s.total < 5
    assert caption.bytes.uplink == size
    assert abs(size - 2 * len(message)) < 80


def test_a_caption_that_had_to_wait_is_late(
    publish: Callable[[Entry], int], session: FakeSession, epoch_ms: int
) -> None:
    publish(entry(epoch_ms, captured_ms=1000))
    assert Caption.from_json(session.sent[0][1]).late


def test_it_is_accepted_once_the_broker_has_both(
    publish: Callable[[Entry], int], session: FakeSession, epoch_ms: int, accepted: list[int]
) -> None:
    publish(entry(epoch_ms))
    session.answers[0](Reason(0, "Success"))
    assert accepted == []
    session.answers[1](Reason(0, "Success"))
    assert accepted == [5]


@pytest.mark.parametrize("answer", [None, Reason(0x87, "Not authorized")])
def test_what_the_broker_has_not_accepted_stays(
    publish: Callable[[Entry], int],
    session: FakeSession,
    epoch_ms: int,
    accepted: list[int],
    answer: Reason | None,
) -> None:
    publish(entry(epoch_ms))
    session.answers[0](answer)
    session.answers[1](Reason(0, "Success"))
    assert accepted == []


def test_a_session_that_takes_no_more(
    publish: Callable[[Entry], int], session: FakeSession, epoch_ms: int
) -> None:
    session.takes = 1
    assert publish(entry(epoch_ms)) == 0

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import pytest

from aiflow.common.messages import Caption
from aiflow.common.mqtt import Reason, Session
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, Kind, Local, Packet, Why, pack, pack_local
from aiflow.device.herald import Herald
from aiflow.device.outbox import Entry

TAG = b"\xab\xab"


class FakeSession:
    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bool]] = []
        self.answers: list[Callable[[Reason | None], None]] = []
        self.takes = 100

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int,
        retain: bool,
        on_accepted: Callable[[Reason | None], None],
    ) -> bool:
        assert qos == 1
        if self.takes <= 0:
            return False
        self.takes -= 1
        self.sent.append((topic, payload, retain))
        self.answers.append(on_accepted)
        return True


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


@pytest.fixture
def told() -> list[int]:
    return []


@pytest.fixture
def context() -> Context:
    return Context("pi", "door", round(time.time() * 1000) - 60_000)


@pytest.fixture
def herald(session: FakeSession, context: Context, told: list[int]) -> Herald:
    return Herald(cast("Session", session), Topics(), context, "ab" * 32, told.append)


def entry(context: Context, kind: Kind = Kind.LOCAL, captured_ms: int = 59_500) -> Entry:
    body = pack_local(Local(Why.NO_NODE, 0.8, "a red bus")) if kind is Kind.LOCAL else b"\x01"
    return Entry(5, pack(Packet(kind, TAG, 5, captured_ms, body), context))


def test_a_caption_goes_out_as_an_edge_node_would_publish_it(
    herald: Herald, session: FakeSession, context: Context
) -> None:
    size = herald.tell(entry(context))
    (topic, message, retain), (other, same, not_retained) = session.sent
    assert (topic, retain) == ("aiflow/pi/door/caption", True)
    assert (other, not_retained) == ("aiflow/pi/door/event", False)
    assert message == same
    caption = Caption.from_json(message)
    assert caption.id == f"pi/door/{context.epoch_ms:x}-5"
    assert (caption.text, caption.confidence, caption.tier) == ("a red bus", 0.8, "device")
    assert caption.reason == "captioned on the device: no edge node was online"
    assert not caption.late
    assert 0.4 < caption.latency_s.total < 5
    assert caption.bytes.uplink == size
    assert size is not None
    assert abs(size - 2 * len(message)) < 80


def test_a_caption_that_had_to_wait_is_late(
    herald: Herald, session: FakeSession, context: Context
) -> None:
    herald.tell(entry(context, captured_ms=1000))
    assert Caption.from_json(session.sent[0][1]).late


def test_it_is_told_once_the_broker_has_both(
    herald: Herald, session: FakeSession, context: Context, told: list[int]
) -> None:
    herald.tell(entry(context))
    session.answers[0](Reason(0, "Success"))
    assert told == []
    session.answers[1](Reason(0, "Success"))
    assert told == [5]


@pytest.mark.parametrize("answer", [None, Reason(0x87, "Not authorized")])
def test_what_the_broker_has_not_accepted_is_not_told(
    herald: Herald, session: FakeSession, context: Context, told: list[int], answer: Reason | None
) -> None:
    herald.tell(entry(context))
    session.answers[0](answer)
    session.answers[1](Reason(0, "Success"))
    assert told == []


def test_frames_without_a_caption_wait_for_an_edge_node(
    herald: Herald, session: FakeSession, context: Context
) -> None:
    assert herald.tell(entry(context, Kind.KEY)) is None
    assert session.sent == []


def test_a_session_that_takes_no_more(
    herald: Herald, session: FakeSession, context: Context
) -> None:
    session.takes = 1
    assert herald.tell(entry(context)) == 0

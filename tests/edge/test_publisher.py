from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiflow.common.metrics import Counters
from aiflow.common.topics import Topics
from aiflow.edge.custody import Custody
from aiflow.edge.ledger import Ledger
from aiflow.edge.publisher import CaptionContent, EdgeSeconds, Publisher
from aiflow.edge.received import FrameKey
from aiflow.edge.timers import Timers

if TYPE_CHECKING:
    from tests.edge.conftest import FakeCamera, Published

NEW = CaptionContent(
    "a red bus", 0.91239, "edge", "split", "confidence 0.91 >= 0.80", EdgeSeconds(0.001, 0.02)
)
UPDATE = CaptionContent(
    "a red bus waits",
    0.99,
    "cloud",
    "cascade",
    "the cloud kept 2 of 3 drafted tokens",
    EdgeSeconds(0.001, 0.02, 0.3),
    update=True,
)


class Desk:
    """A publisher with its surroundings."""

    def __init__(self, ledger: Ledger, published: Published, bundle_id: str) -> None:
        self.published = published
        self.counters = Counters()
        self.custody = Custody(
            ledger, published, Topics(), Timers(self.counters), self.counters, receipt_every_s=0.5
        )
        self.ledger = ledger
        self.bundle_id = bundle_id
        self.publisher = self.restarted({})

    def restarted(self, newest: dict[tuple[str, str], FrameKey]) -> Publisher:
        return Publisher(self.published, Topics(), self.custody, newest, self.counters)

    def is_captioned(self, frame: FrameKey) -> bool:
        self.custody.settle()
        return frame in self.ledger


@pytest.fixture
def desk(tmp_path: Path, published: Published, bundle_id: str) -> Iterator[Desk]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Desk(ledger, published, bundle_id)


def test_a_caption_is_retained_and_an_event_is_not(desk: Desk, camera: FakeCamera) -> None:
    assert desk.publisher.publish(camera.embedding(3), NEW)
    caption, event = desk.published.sent
    assert (caption.topic, caption.qos, caption.retain) == ("aiflow/pi/door/caption", 1, True)
    assert (event.topic, event.qos, event.retain) == ("aiflow/pi/door/event", 1, False)
    assert caption.payload == event.payload


def test_what_a_caption_says(desk: Desk, camera: FakeCamera) -> None:
    frame = camera.embedding(3)
    desk.publisher.publish(frame, NEW)
    caption = desk.published.sent[0].caption
    assert caption.id == f"pi/door/{camera.context.epoch_ms:x}-3"
    assert (caption.device, caption.camera, caption.sequence) == ("pi", "door", 3)
    assert (caption.type, caption.tier, caption.mode) == ("new", "edge", "split")
    assert (caption.text, caption.confidence) == ("a red bus", 0.9124)
    assert caption.timestamp == frame.captured_s
    assert caption.latency_s.queue == 0.001
    assert caption.latency_s.decode == 0.02
    assert caption.latency_s.cloud is None
    assert caption.latency_s.total == pytest.approx(time.time() - frame.captured_s, abs=2)
    assert caption.bytes.embedding == len(frame.payload)
    assert caption.bytes.uplink == frame.uplink_bytes
    assert caption.bundle == desk.bundle_id
    assert caption.reason == "confidence 0.91 >= 0.80"


def test_custody_ends_when_both_are_accepted(desk: Desk, camera: FakeCamera) -> None:
    desk.published.holds = True
    frame = camera.embedding(1)
    desk.custody.admit(frame.key)
    desk.publisher.publish(frame, NEW)
    caption, event = desk.published.sent
    caption.ack()
    assert not desk.is_captioned(frame.key)
    event.ack()
    assert desk.is_captioned(frame.key)
    assert desk.counters.value("aiflow_captions_total", tier="edge", type="new") == 1


def test_nobody_listening_is_accepted(desk: Desk, camera: FakeCamera) -> None:
    desk.published.code = 0x10
    desk.publisher.publish(camera.embedding(1), NEW)
    assert desk.is_captioned(camera.key(1))


@pytest.mark.parametrize("code, reason", [(0x87, "refused"), (None, "disconnected")])
@pytest.mark.parametrize("which", [0, 1])
def test_what_is_not_accepted_is_released(
    desk: Desk, camera: FakeCamera, code: int | None, reason: str, which: int
) -> None:
    desk.published.holds = True
    frame = camera.embedding(1)
    desk.custody.admit(frame.key)
    desk.publisher.publish(frame, NEW)
    desk.published.sent[which].ack(code)
    desk.published.sent[1 - which].ack(0)
    assert not desk.is_captioned(frame.key)
    assert desk.custody.admit(frame.key)
    assert desk.counters.value("aiflow_publish_errors_total", reason=reason) == 1


def test_without_a_connection_nothing_is_promised(desk: Desk, camera: FakeCamera) -> None:
    desk.published.connected = False
    frame = camera.embedding(1)
    desk.custody.admit(frame.key)
    assert not desk.publisher.publish(frame, NEW)
    assert desk.custody.held == 0
    assert desk.counters.value("aiflow_publish_errors_total", reason="unsent") == 1


def test_an_update_has_the_same_id_and_needs_no_custody(desk: Desk, camera: FakeCamera) -> None:
    desk.publisher.publish(camera.embedding(1), NEW)
    desk.publisher.publish(camera.embedding(1), UPDATE)
    new, _, update, event = (message.caption for message in desk.published.sent)
    assert update == event
    assert update.id == new.id
    assert (update.type, update.tier, update.mode) == ("update", "cloud", "cascade")
    assert update.latency_s.cloud == 0.3
    assert desk.counters.value("aiflow_captions_total", tier="cloud", type="update") == 1


@pytest.mark.parametrize("answer", [NEW, UPDATE])
def test_an_older_frame_does_not_replace_the_retained_caption(
    desk: Desk, camera: FakeCamera, answer: CaptionContent
) -> None:
    desk.publisher.publish(camera.embedding(5), NEW)
    desk.publisher.publish(camera.embedding(4), answer)
    assert [message.caption.sequence for message in desk.published.to("/caption")] == [5]
    assert [message.caption.sequence for message in desk.published.to("/event")] == [5, 4]


def test_an_older_frame_of_another_camera_does(
    desk: Desk, camera: FakeCamera, new_camera: type[FakeCamera]
) -> None:
    desk.publisher.publish(camera.embedding(5), NEW)
    desk.publisher.publish(new_camera("gate").embedding(4), NEW)
    assert len(desk.published.to("/caption")) == 2


def test_after_a_restart_the_ledger_knows_the_newest(desk: Desk, camera: FakeCamera) -> None:
    publisher = desk.restarted({("pi", "door"): camera.key(5)})
    publisher.publish(camera.embedding(4), NEW)
    assert desk.published.to("/caption") == []
    publisher.publish(camera.embedding(6), NEW)
    assert len(desk.published.to("/caption")) == 1


def test_a_new_session_is_newer_whatever_its_clock_says(
    desk: Desk, new_camera: type[FakeCamera]
) -> None:
    before, after = new_camera(epoch_ms=2000), new_camera(epoch_ms=1000)
    desk.publisher.publish(before.embedding(5), NEW)
    desk.publisher.publish(after.embedding(0), NEW)
    desk.publisher.publish(before.embedding(5), UPDATE)
    retained = [message.caption.id for message in desk.published.to("/caption")]
    assert retained == ["pi/door/7d0-5", "pi/door/3e8-0"]


def test_texts_are_capped(desk: Desk, camera: FakeCamera) -> None:
    long = CaptionContent("a" * 5000, 0.5, "edge", "split", "b" * 5000, EdgeSeconds())
    desk.publisher.publish(camera.embedding(1), long)
    caption = desk.published.sent[0].caption
    assert (len(caption.text), len(caption.reason)) == (1000, 200)

"""What lets a picture out, and what does not, whoever asks; the rest is in test_daemon.py."""

from __future__ import annotations

from typing import cast

import pytest

from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Outgoing, Session
from aiflow.common.topics import Topics
from aiflow.common.wire import Kind
from aiflow.device.camera_topics import CameraTopics

JPEG = b"\xff\xd8\xff picture"
IMAGE = bytes([0x10 | Kind.IMAGE]) + JPEG
DELTA = bytes([0x10 | Kind.DELTA]) + b"delta"


class FakeSession:
    """Takes everything, and says with what."""

    def __init__(self) -> None:
        self.taken: list[Outgoing] = []
        self.full = False

    def publish(self, message: Outgoing) -> bool:
        if not self.full:
            self.taken.append(message)
        return not self.full


@pytest.fixture
def session() -> FakeSession:
    return FakeSession()


def new_topics(session: FakeSession, counters: Counters, *, allow_images: bool) -> CameraTopics:
    return CameraTopics(
        cast("Session", session),
        Topics(),
        "pi",
        "door",
        counters=counters,
        expiry_s=60,
        allow_images=allow_images,
    )


def test_no_picture_leaves_a_device_that_does_not_allow_it(
    session: FakeSession, counters: Counters
) -> None:
    topics = new_topics(session, counters, allow_images=False)
    with pytest.raises(RuntimeError, match="does not allow images"):
        topics.snapshot(JPEG, lambda _: None)
    with pytest.raises(RuntimeError, match="does not allow images"):
        topics.embedding(IMAGE)
    assert (session.taken, counters.snapshot()) == ([], {})
    assert topics.embedding(DELTA) > 0


def test_a_snapshot_is_a_plain_picture_that_nobody_keeps(
    session: FakeSession, counters: Counters
) -> None:
    topics = new_topics(session, counters, allow_images=True)
    size = topics.snapshot(JPEG, lambda _: None)
    (message,) = session.taken
    assert (message.topic, message.payload) == ("aiflow/pi/door/snapshot", JPEG)
    assert (message.qos, message.retain, message.expiry_s) == (1, False, 60)
    assert size > len(message.topic) + len(JPEG)


def test_pictures_of_both_kinds_are_counted_as_one(
    session: FakeSession, counters: Counters
) -> None:
    topics = new_topics(session, counters, allow_images=True)
    topics.snapshot(JPEG, lambda _: None)
    topics.embedding(IMAGE)
    session.full = True
    assert topics.snapshot(JPEG, lambda _: None) == 0
    assert counters.value("aiflow_published_total", kind="image") == 2
    sent = counters.value("aiflow_published_bytes_total", kind="image")
    assert sent == len(JPEG) + len(IMAGE)

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aiflow.common.errors import ConfigError
from aiflow.common.mqtt import OnAccepted, Reason
from aiflow.device.camera import Image
from aiflow.device.snapshots import MAX_BYTES, Snapshots

REFUSED = Reason(0x87, "Not authorized")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """Takes pictures while it is up; answers when the test says so."""

    def __init__(self) -> None:
        self.up = True
        self.pictures: list[bytes] = []
        self.answer: OnAccepted

    def __call__(self, jpeg: bytes, on_accepted: OnAccepted) -> int:
        if not self.up:
            return 0
        self.pictures.append(jpeg)
        self.answer = on_accepted
        return len(jpeg) + 20


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def snapshots(clock: Clock, line: Line) -> Snapshots:
    return Snapshots("door", 10.0, line, allowed=True, clock=clock)


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def test_there_are_none_without_the_owners_word(line: Line) -> None:
    with pytest.raises(ConfigError, match="of camera door sends pictures; allow it by allow_imag"):
        Snapshots("door", 10.0, line, allowed=False)


def test_a_picture_is_small_and_anything_can_show_it(snapshots: Snapshots, line: Line) -> None:
    assert snapshots.take(noise(1280, 960)) == len(line.pictures[0]) + 20
    assert len(line.pictures[0]) <= MAX_BYTES
    image = cv2.imdecode(np.frombuffer(line.pictures[0], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (240, 320, 3)


def test_so_many_seconds_pass_between_two(snapshots: Snapshots, clock: Clock, line: Line) -> None:
    for now, there in ((0.0, 1), (9.9, 1), (10.0, 2), (19.9, 2), (100.0, 3), (100.1, 3)):
        clock.now = 1000.0 + now
        snapshots.take(noise(64, 48))
        assert len(line.pictures) == there, now
        line.answer(Reason(0, "Success"))


@pytest.mark.parametrize("answer", [REFUSED, None])
def test_the_next_one_waits_for_the_brokers_answer(
    answer: Reason | None, snapshots: Snapshots, clock: Clock, line: Line
) -> None:
    snapshots.take(noise(64, 48))
    clock.now += 3600
    assert snapshots.take(noise(64, 48)) == 0
    line.answer(answer)
    assert snapshots.take(noise(64, 48)) > 0
    assert len(line.pictures) == 2


def test_what_cannot_leave_is_dropped(snapshots: Snapshots, clock: Clock, line: Line) -> None:
    line.up = False
    assert snapshots.take(noise(64, 48)) == 0
    line.up = True
    assert snapshots.take(noise(64, 48)) == 0, "nothing is made up for"
    clock.now += 10
    assert snapshots.take(noise(64, 48)) > 0

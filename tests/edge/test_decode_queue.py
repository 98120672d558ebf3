from __future__ import annotations

from typing import TYPE_CHECKING

from aiflow.common.batches import Batches
from aiflow.edge.decode_queue import Waiting, oldest_of_camera

if TYPE_CHECKING:
    from tests.edge.conftest import FakeCamera


def bounded(most: int) -> Batches[Waiting]:
    return Batches(most, victim=oldest_of_camera)


def test_the_oldest_of_the_same_camera_goes(new_camera: type[FakeCamera]) -> None:
    door, gate = new_camera("door"), new_camera("gate")
    waiting = bounded(3)
    first, second, third = gate.embedding(1), door.embedding(1), door.embedding(2)
    for frame in (first, second, third):
        assert waiting.put(frame) is None
    newest = door.embedding(3)
    assert waiting.put(newest) is second
    assert waiting.take(9) == [first, third, newest]


def test_without_one_of_the_same_camera_the_oldest_goes(new_camera: type[FakeCamera]) -> None:
    door, gate = new_camera("door"), new_camera("gate")
    waiting = bounded(2)
    first, second = door.embedding(1), door.embedding(2)
    waiting.put(first)
    waiting.put(second)
    newest = gate.embedding(1)
    assert waiting.put(newest) is first
    assert waiting.take(9) == [second, newest]


def test_a_new_session_is_the_same_camera(new_camera: type[FakeCamera]) -> None:
    old, new = new_camera(epoch_ms=1), new_camera(epoch_ms=2)
    waiting = bounded(1)
    first = old.embedding(1)
    waiting.put(first)
    assert waiting.put(new.embedding(1)) is first

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from aiflow.common.metrics import Counters
from aiflow.device import capture as module
from aiflow.device.camera import Frame
from aiflow.device.capture import MAX_ABANDONED, Capture

if TYPE_CHECKING:
    from tests.device.conftest import FakeCamera, WaitUntil


class Heard:
    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.statuses: list[str] = []


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.005, 0.02))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def capture(camera: FakeCamera, heard: Heard, counters: Counters) -> Iterator[Capture]:
    capture = Capture(
        "door",
        camera.open,
        heard.frames.append,
        heard.statuses.append,
        stall_s=0.1,
        counters=counters,
    )
    yield capture
    capture.stop()


def test_frames_are_delivered_and_the_camera_is_online(
    capture: Capture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    capture.start()
    camera.show(1, 2, 3)
    wait_until(lambda: len(heard.frames) == 3, "no frames")
    assert heard.statuses == ["online"]
    assert capture.running


def test_failing_camera_is_opened_again(
    capture: Capture,
    camera: FakeCamera,
    heard: Heard,
    counters: Counters,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    capture.start()
    camera.show(1)
    camera.fail("it was unplugged")
    camera.show(2)
    wait_until(lambda: len(heard.frames) == 2, "not opened again")
    wait_until(lambda: len(heard.statuses) == 3, "not online again")
    assert heard.statuses == ["online", "offline", "online"]
    assert (camera.opened, camera.closed) == (2, 1)
    assert counters.value("aiflow_camera_reconnects_total") == 1
    assert caplog.text.count("camera door: it was unplugged (it is opened again") == 1
    assert "Traceback" not in caplog.text


def test_missing_camera_is_told_once_and_tried_until_it_is_there(
    capture: Capture,
    camera: FakeCamera,
    heard: Heard,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera.missing = True
    capture.start()
    wait_until(lambda: camera.opened >= 4, "not tried again")
    assert set(heard.statuses) == {"offline"}
    assert caplog.text.count("it is not there") == 1
    camera.missing = False
    camera.show(1)
    wait_until(lambda: heard.statuses[-1:] == ["online"], "not found")


def test_end_of_a_source_is_no_failure(
    capture: Capture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    capture.start()
    camera.show(1)
    camera.end()
    wait_until(lambda: camera.closed == 1, "not closed")
    assert heard.statuses == ["online", "offline"]
    assert not capture.running
    assert camera.opened == 1


def test_bug_in_a_camera_is_logged_and_it_is_opened_again(
    heard: Heard, counters: Counters, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def buggy() -> FakeCamera:
        calls.append(1)
        raise ZeroDivisionError

    capture = Capture(
        "door",
        buggy,
        heard.frames.append,
        heard.statuses.append,
        stall_s=0.1,
        counters=counters,
    )
    capture.start()
    wait_until(lambda: len(calls) >= 2, "gave up")
    capture.stop()
    assert "ZeroDivisionError" in caplog.text


def test_camera_that_hangs_is_abandoned_and_opened_anew(
    capture: Capture, camera: FakeCamera, heard: Heard, counters: Counters, wait_until: WaitUntil
) -> None:
    capture.start()
    camera.show(1)
    wait_until(lambda: heard.statuses == ["online"], "no frame")
    capture.check()
    assert counters.value("aiflow_camera_stalls_total") == 0, "it has not hung for long enough"
    for _ in range(2):
        time.sleep(0.12)
        capture.check()
    assert heard.statuses[-1] == "offline"
    assert counters.value("aiflow_camera_stalls_total") >= 1
    wait_until(lambda: camera.opened >= 2, "not opened anew")


def test_threads_that_hang_are_bounded(
    capture: Capture, camera: FakeCamera, counters: Counters, wait_until: WaitUntil
) -> None:
    capture.start()
    for number in range(MAX_ABANDONED + 3):
        wait_until(lambda: camera.opened >= min(number, MAX_ABANDONED) + 1, "not opened")  # noqa: B023
        time.sleep(0.12)
        capture.check()
    assert camera.opened == MAX_ABANDONED + 1
    assert counters.value("aiflow_camera_stalls_total") == MAX_ABANDONED
    camera.release()


def test_frame_that_comes_after_the_stop_is_dropped(
    capture: Capture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    capture.start()
    wait_until(lambda: camera.opened == 1, "not opened")
    capture.stop()
    camera.show(1)
    wait_until(lambda: camera.closed == 1, "not closed")
    assert (heard.frames, heard.statuses) == ([], [])


def test_start_and_stop_may_be_repeated(
    capture: Capture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    actions: list[Callable[[], None]] = [capture.start, capture.start, capture.stop, capture.stop]
    for action in actions:
        action()
    camera.show(1)
    wait_until(lambda: camera.closed == camera.opened, "not closed")
    capture.start()
    camera.show(2)
    wait_until(lambda: heard.statuses == ["online"], "not opened again")


def test_turns_are_frames_and_failed_attempts(
    capture: Capture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    capture.start()
    camera.show(1, 2)
    wait_until(lambda: capture.turns == 2, "frames do not count")
    camera.missing = True
    camera.fail()
    wait_until(lambda: capture.turns >= 5, "attempts do not count")
    camera.missing = False
    for _ in range(MAX_ABANDONED):
        wait_until(lambda: capture.overdue, "that it hangs is not seen")
        capture.check()
        assert not capture.overdue, "it is opened anew"
    wait_until(lambda: capture.overdue, "that it hangs is not seen")
    capture.check()
    assert capture.overdue, "there is nothing left to try"
    capture.stop()
    assert not capture.overdue

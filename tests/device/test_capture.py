from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from aiflow.common.errors import CameraError
from aiflow.common.metrics import Counters
from aiflow.device import capture as module
from aiflow.device.camera import Frame
from aiflow.device.capture import Capture, Limits, Process

if TYPE_CHECKING:
    from tests.device.conftest import FakeCamera, WaitUntil

NewCapture = Callable[..., Capture]


class Heard:
    def __init__(self) -> None:
        self.values: list[int] = []
        self.statuses: list[str] = []
        self.free = threading.Event()
        self.free.set()

    def take(self, frame: Frame) -> None:
        self.free.wait(10)
        self.values.append(int(frame.image[0, 0, 0]))
        frame.release()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.005, 0.02))
    monkeypatch.setattr(module, "GRACE_S", 0.02)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def new_capture(
    camera: FakeCamera, heard: Heard, counters: Counters, wait_until: WaitUntil
) -> Iterator[NewCapture]:
    """Switched on, and patient unless the test says otherwise."""
    made: list[Capture] = []

    def make(launch: Callable[[], Process] = camera.launch, stall_s: float = 30.0) -> Capture:
        capture = Capture(
            "door",
            launch,
            heard.take,
            heard.statuses.append,
            limits=Limits(stall_s=stall_s),
            counters=counters,
        )
        made.append(capture)
        capture.start()
        capture.switch(on=True)
        return capture

    yield make
    for capture in made:
        capture.close()
        assert capture.join(30)


def test_frames_are_delivered_and_the_camera_is_online(
    new_capture: NewCapture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    new_capture()
    for value in range(1, 9):
        camera.show(value)
        wait_until(lambda: heard.values == list(range(1, value + 1)), "no frames")  # noqa: B023
    assert heard.statuses == ["online"]


def test_of_frames_that_come_while_one_is_worked_on_the_freshest_counts(
    new_capture: NewCapture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    heard.free.clear()
    capture = new_capture()
    camera.show(1)
    wait_until(lambda: capture.captured == 1, "no frame")
    camera.show(2, 3)  # as many as there is memory for
    wait_until(lambda: not camera.waiting, "not read")
    time.sleep(0.05)
    heard.free.set()
    wait_until(lambda: heard.values == [1, 3], "not the freshest")
    assert (capture.captured, capture.replaced) == (3, 1)
    camera.end()
    wait_until(lambda: heard.statuses == ["online", "offline"], "not ended")


def test_failing_camera_is_opened_again(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    counters: Counters,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_capture()
    camera.show(1)
    camera.fail("it was unplugged")
    camera.show(2)
    wait_until(lambda: heard.values == [1, 2], "not opened again")
    wait_until(lambda: heard.statuses == ["online", "offline", "online"], "not online again")
    assert (camera.opened, camera.closed) == (2, 1)
    assert counters.value("aiflow_camera_reconnects_total") == 1
    assert caplog.text.count("camera door: it was unplugged (it is opened again") == 1
    assert "Traceback" not in caplog.text


def test_missing_camera_is_told_once_and_tried_until_it_is_there(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera.missing = True
    new_capture()
    wait_until(lambda: camera.opened >= 4, "not tried again")
    assert set(heard.statuses) == {"offline"}
    assert caplog.text.count("it is not there") == 1
    camera.missing = False
    camera.show(1)
    wait_until(lambda: heard.statuses[-1:] == ["online"], "not found")


def test_end_of_a_source_is_no_failure(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    counters: Counters,
    wait_until: WaitUntil,
) -> None:
    capture = new_capture()
    camera.show(1)
    camera.end()
    wait_until(lambda: heard.statuses == ["online", "offline"], "not seen")
    capture.ask()
    wait_until(lambda: not capture.pulse.silent, "the thread has ended as well")
    assert (camera.opened, camera.closed) == (1, 1)
    assert counters.snapshot() == {}
    capture.switch(on=False)
    capture.switch(on=True)
    camera.show(2)
    wait_until(lambda: heard.values == [1, 2], "not played again")


def test_process_that_dies_is_noticed_and_started_again(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    counters: Counters,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_capture()
    camera.show(1)
    camera.die()
    camera.show(2)
    wait_until(lambda: heard.values == [1, 2], "not started again")
    assert counters.value("aiflow_camera_deaths_total") == 1
    assert counters.value("aiflow_camera_stalls_total") == 0
    assert "camera door: its process has died" in caplog.text


def test_process_that_cannot_be_started(
    new_capture: NewCapture, heard: Heard, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[int] = []

    def launch() -> Process:
        calls.append(1)
        raise ZeroDivisionError if len(calls) == 1 else CameraError("too many open files")

    new_capture(launch)
    wait_until(lambda: len(calls) >= 4, "gave up")
    assert set(heard.statuses) == {"offline"}
    assert "ZeroDivisionError" in caplog.text, "a bug is logged with its traceback"
    assert caplog.text.count("camera door: too many open files") == 1


def test_camera_that_hangs_is_opened_anew(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    counters: Counters,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_capture(stall_s=0.05)
    wait_until(lambda: camera.opened >= 3, "not opened anew")
    assert set(heard.statuses) == {"offline"}
    assert counters.value("aiflow_camera_stalls_total") >= 2
    assert caplog.text.count("it hangs, neither giving a frame nor failing") == 1


def test_camera_that_delivers_is_opened_again_without_growing_pauses(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[int] = []

    def pause_s(number: int) -> float:
        pauses.append(number)
        return 0.001

    monkeypatch.setattr(module, "_pause_s", pause_s)
    new_capture()
    for value in range(5):
        camera.show(value)
        camera.fail()
    wait_until(lambda: len(pauses) >= 5, "not opened again")
    assert pauses[:5] == [1] * 5
    assert heard.values == [*range(5)]


def test_bad_frames_are_counted_and_their_number_told_at_most_once_a_minute(
    counters: Counters, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bad = module.BadFrames("door", counters)
    for second in range(150):
        now[0] = float(second)
        if second == 100:
            bad.begin()  # a new process counts from 0
        bad.take(second % 100)
    assert counters.value("aiflow_camera_bad_frames_total") == 99 + 49
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"camera door: skipped {number} bad frames" for number in (1, 60, 59)]


def test_process_that_cannot_be_ended_is_waited_for(
    new_capture: NewCapture,
    camera: FakeCamera,
    heard: Heard,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera.immortal = True
    capture = new_capture(stall_s=0.05)
    wait_until(lambda: "its process cannot be ended" in caplog.text, "not told")
    capture.ask()
    wait_until(lambda: not capture.pulse.silent, "the thread hangs with it")
    assert camera.opened == 1
    camera.immortal = False
    wait_until(lambda: camera.opened >= 2, "not opened anew, although it has ended")
    assert heard.statuses[-1] == "offline"


def test_camera_that_is_switched_off_gives_nothing_more(
    new_capture: NewCapture, camera: FakeCamera, heard: Heard, wait_until: WaitUntil
) -> None:
    capture = new_capture()
    wait_until(lambda: camera.opened == 1, "not opened")
    capture.switch(on=False)
    wait_until(lambda: camera.closed == 1, "not closed")
    camera.show(1)
    for on in (True, True, False, False, True):
        capture.switch(on=on)
    wait_until(lambda: heard.values == [1], "not opened again")
    assert heard.statuses == ["online"]

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import pytest

from aiflow.common.errors import PayloadMalformed, StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import RefineOrder
from aiflow.device import capture
from aiflow.device.budget import Budget
from aiflow.device.camera import Frame
from aiflow.device.camera.ring import SLOTS
from aiflow.device.camera_topics import CameraTopics
from aiflow.device.camera_unit import CameraUnit
from aiflow.device.pipeline import Pipeline
from aiflow.device.stages import Stages

if TYPE_CHECKING:
    from tests.device.conftest import FakeCamera, WaitUntil


class FakeTopics:
    def __init__(self) -> None:
        self.statuses: list[str] = []
        self.states: list[bool] = []
        self.sizes: list[tuple[int, int]] = []
        self.refinements: list[bytes] = []

    def status(self, status: str) -> None:
        self.statuses.append(status)

    def enabled(self, *, on: bool) -> None:
        self.states.append(on)

    def describe(self, width: int, height: int) -> bytes:
        self.sizes.append((width, height))
        return b"descriptor"

    def embedding(self, payload: bytes) -> int:
        self.refinements.append(payload)
        return 30


class FakePipeline:
    """Raises the fault it is given, once."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.described: list[bytes] = []
        self.fault: Exception | None = None
        self.clock_was_set = False
        self.stages = Stages()
        self.budget = Budget(100.0, layers=2, symbols=1, now=time.monotonic())
        self.looked_at = self.encoded = self.accepted = 0

    def renewed(self) -> bool:
        new, self.clock_was_set = self.clock_was_set, False
        return new

    def describe(self, descriptor: bytes) -> None:
        self.described.append(descriptor)

    def offer(self, frame: Frame) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        self.frames.append(frame)

    def refine(self, order: RefineOrder) -> bytes | None:
        return b"refinement" if order.layers else None


@pytest.fixture
def topics() -> FakeTopics:
    return FakeTopics()


@pytest.fixture
def pipeline() -> FakePipeline:
    return FakePipeline()


@pytest.fixture
def storage_faults() -> list[StorageError]:
    return []


@pytest.fixture
def new_unit(
    camera: FakeCamera,
    topics: FakeTopics,
    pipeline: FakePipeline,
    counters: Counters,
    storage_faults: list[StorageError],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., CameraUnit]]:
    monkeypatch.setattr(capture, "BACKOFF_S", (0.005, 0.02))
    monkeypatch.setattr(capture, "GRACE_S", 0.02)
    units: list[CameraUnit] = []

    def make(*, enabled: bool = True, stall_s: float = 30.0) -> CameraUnit:
        unit = CameraUnit(
            "door",
            camera.launch,
            cast("Pipeline", pipeline),
            cast("CameraTopics", topics),
            topics.describe,
            limits=capture.Limits(stall_s=stall_s),
            counters=counters,
            on_storage_fault=storage_faults.append,
        )
        units.append(unit)
        unit.start(enabled=enabled)
        return unit

    yield make
    for unit in units:
        unit.stop()


def test_frames_reach_the_stream_described_once(
    new_unit: Callable[..., CameraUnit],
    camera: FakeCamera,
    topics: FakeTopics,
    pipeline: FakePipeline,
    wait_until: WaitUntil,
) -> None:
    unit = new_unit()
    for value in (1, 2, 3):
        camera.show(value)
        wait_until(lambda: len(pipeline.frames) == value, "no frame")  # noqa: B023
    assert topics.sizes == [(64, 48)]
    assert pipeline.described == [b"descriptor"]
    assert (topics.statuses, topics.states) == (["offline", "online"], [True])
    assert unit.stats()["captured"] == 3
    unit.stop()
    assert topics.statuses[-1] == "offline"


def test_camera_is_closed_and_opened_by_order(
    new_unit: Callable[..., CameraUnit],
    camera: FakeCamera,
    topics: FakeTopics,
    pipeline: FakePipeline,
    wait_until: WaitUntil,
) -> None:
    unit = new_unit()
    camera.show(1)
    wait_until(lambda: topics.statuses[-1] == "online", "not online")
    unit.enable_order(b"OFF")
    assert (topics.statuses[-1], topics.states[-1]) == ("disabled", False)
    camera.show(2)
    wait_until(lambda: camera.closed == 1, "not closed")
    unit.enable_order(b"ON")
    assert topics.states == [True, False, True]
    camera.show(3)
    wait_until(lambda: topics.statuses[-1] == "online", "not online again")
    wait_until(lambda: len(pipeline.frames) >= 2, "no frame")
    assert "disabled" not in topics.statuses[topics.statuses.index("disabled") + 1 :]


def test_camera_that_is_off_from_the_start(
    new_unit: Callable[..., CameraUnit], camera: FakeCamera, topics: FakeTopics
) -> None:
    new_unit(enabled=False)
    assert camera.opened == 0
    assert (topics.statuses, topics.states) == (["disabled"], [False])


@pytest.mark.parametrize("payload", [b"", b"on", b"1", b"\xff" * 1000])
def test_other_orders_are_malformed(
    new_unit: Callable[..., CameraUnit], topics: FakeTopics, payload: bytes
) -> None:
    unit = new_unit()
    with pytest.raises(PayloadMalformed, match="is turned ON or OFF, not"):
        unit.enable_order(payload)
    assert topics.states == [True]


def test_camera_that_hangs_is_noticed_without_anybody_asking(
    new_unit: Callable[..., CameraUnit],
    camera: FakeCamera,
    topics: FakeTopics,
    counters: Counters,
    wait_until: WaitUntil,
) -> None:
    new_unit(stall_s=0.1)
    camera.show(1)
    wait_until(lambda: topics.statuses[1:] == ["online", "offline"], "the stall is not noticed")
    wait_until(lambda: camera.opened >= 2, "not opened anew")
    # More than one: a process that is just being ended may take some with it.
    wait_until(lambda: topics.statuses[3:4] == ["online"] or camera.show(2), "not online again")  # type: ignore[func-returns-value]
    assert counters.value("aiflow_camera_stalls_total") >= 1


def test_orders_are_carried_out(
    new_unit: Callable[..., CameraUnit], topics: FakeTopics, wait_until: WaitUntil
) -> None:
    unit = new_unit()
    unit.order(RefineOrder(1, 0, 0))
    unit.order(RefineOrder(1, 1, 1))
    wait_until(lambda: topics.refinements == [b"refinement"], "not carried out")
    wait_until(lambda: float(unit.stats()["bytes_s"]) > 0, "not counted")


def test_fault_costs_one_frame(
    new_unit: Callable[..., CameraUnit],
    camera: FakeCamera,
    pipeline: FakePipeline,
    counters: Counters,
    storage_faults: list[StorageError],
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_unit()
    for number, fault in enumerate(
        [StorageError("no space left on the disk"), PayloadMalformed("too long")], start=1
    ):
        pipeline.fault = fault
        camera.show(1)
        wait_until(lambda: pipeline.fault is None, "no frame")
        camera.show(2)
        wait_until(lambda: len(pipeline.frames) == number, "the stream has stopped")  # noqa: B023
    assert [str(fault) for fault in storage_faults] == ["no space left on the disk"]
    assert counters.value("aiflow_stream_faults_total", reason="storage") == 1
    assert counters.value("aiflow_stream_faults_total", reason="malformed") == 1
    assert "Traceback" not in caplog.text
    pipeline.fault = ZeroDivisionError()
    camera.show(1)
    wait_until(lambda: pipeline.fault is None, "no frame")
    camera.show(2)
    wait_until(lambda: len(pipeline.frames) == 3, "the stream has stopped")
    assert "ZeroDivisionError" in caplog.text, "a bug is logged with its traceback"
    for number in range(4, 7):
        pipeline.fault = ZeroDivisionError()
        camera.show(1)
        wait_until(lambda: pipeline.fault is None, "no frame")
        camera.show(2)
        wait_until(lambda: len(pipeline.frames) == number, "the stream has stopped")  # noqa: B023
    assert counters.value("aiflow_stream_faults_total", reason="bug") == 4
    assert caplog.text.count("Traceback") == 1, "once a minute, with the number"


def test_memory_of_a_frame_is_given_back_whatever_becomes_of_it(
    new_unit: Callable[..., CameraUnit],
    camera: FakeCamera,
    pipeline: FakePipeline,
    wait_until: WaitUntil,
) -> None:
    new_unit()
    for number in range(1, 3 * SLOTS):
        pipeline.fault = ZeroDivisionError() if number % 2 else None
        camera.show(number)
        wait_until(lambda: not camera.waiting, "it waits for memory")
    wait_until(lambda: len(pipeline.frames) >= 1, "no frame")


def test_sign_of_life_of_both_threads(
    new_unit: Callable[..., CameraUnit],
    camera: FakeCamera,
    pipeline: FakePipeline,
    wait_until: WaitUntil,
) -> None:
    unit = new_unit(enabled=False)
    unit.ask()
    wait_until(lambda: not unit.silent, "a camera that is off is no reason for silence")
    unit.enable(on=True)
    unit.ask()
    wait_until(lambda: not unit.silent, "a camera that gives nothing is none either")
    stuck = threading.Event()
    pipeline.offer = lambda _frame: stuck.wait(10)  # type: ignore[method-assign, assignment]
    camera.show(2)
    wait_until(lambda: unit.stats()["captured"] == 1, "no frame")
    unit.ask()
    wait_until(lambda: unit.silent, "it is stuck")
    stuck.set()
    wait_until(lambda: not unit.silent, "it is not stuck any more")

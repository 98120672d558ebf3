"""One camera of a device: its thread from the lens to the outbox, and what it says of itself.

camera's process ──> capture ──> pipeline ──> uplink      on the camera's thread
network thread ──> orders, ON / OFF
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from aiflow.common.errors import AiflowError, PayloadMalformed, StorageError
from aiflow.common.exposition import Reading, Total
from aiflow.common.metrics import Counters, Faults
from aiflow.common.wire import RefineOrder
from aiflow.device.camera import Frame
from aiflow.device.camera_topics import CameraTopics
from aiflow.device.capture import Capture, Limits, Process, Status
from aiflow.device.pipeline import Pipeline
from aiflow.device.snapshots import Snapshots

log = logging.getLogger(__name__)

STATES: Final = {b"ON": True, b"OFF": False}
MAX_ORDERS: Final = 16


class CameraUnit:
    """One camera, between `start` and `stop`."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        name: str,
        launch: Callable[[], Process],
        pipeline: Pipeline,
        topics: CameraTopics,
        describe: Callable[[int, int], bytes],
        *,
        snapshots: Snapshots | None = None,
        limits: Limits,
        counters: Counters,
        on_storage_fault: Callable[[StorageError], None],
    ) -> None:
        """`launch` starts a process of the camera; without `snapshots` nobody sees a picture.

        `describe` makes the descriptor for frames of a width and a height in pixels.
        `on_storage_fault` is called on the camera's thread.
        """
        self.name = name
        self._pipeline = pipeline
        self._topics = topics
        self._describe = describe
        self._snapshots = snapshots
        self._on_storage_fault = on_storage_fault
        self._counters = counters
        self._faults = Faults(counters, "aiflow_stream_faults_total", log)
        self._capture = Capture(
            name,
            launch,
            self._take,
            self._on_status,
            self._carry_out,
            limits=limits,
            counters=counters,
        )
        self._orders: deque[RefineOrder] = deque(maxlen=MAX_ORDERS)  # the edge asks again
        self._lock = threading.Lock()
        self._enabled = False  # this and _status under the lock
        self._described: tuple[int, ...] = ()
        self._status = ""

    def stats(self) -> dict[str, int | float | str | bool]:
        """Present values, and mean stage times since the last call."""
        pipeline, capture = self._pipeline, self._capture
        return {
            "status": self._status,
            "frozen": capture.frozen,
            "captured": capture.captured,
            "replaced": capture.replaced,
            "looked_at": pipeline.looked_at,
            "encoded": pipeline.encoded,
            "accepted": pipeline.accepted,
            **pipeline.budget.stats(time.monotonic()),
            **pipeline.stages.take(),
        }

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        pipeline, capture, labels = self._pipeline, self._capture, {"camera": self.name}
        yield Reading("aiflow_camera_online", self.online, labels)
        for step, count in (
            ("captured", capture.captured),
            ("replaced", capture.replaced),
            ("looked_at", pipeline.looked_at),
            ("encoded", pipeline.encoded),
            ("accepted", pipeline.accepted),
        ):
            yield Reading("aiflow_frames_total", count, labels | {"step": step})
        for stage, total in pipeline.stages.totals().items():
            yield Reading(f"aiflow_{stage}_seconds", Total(*total), labels)

    def ask(self) -> None:
        """Want a turn of the thread. The camera itself is not asked: it has its own time."""
        self._capture.ask()

    @property
    def silent(self) -> bool:
        """Whether the thread has not come around since."""
        return self._capture.pulse.silent

    @property
    def online(self) -> bool:
        return self._status == "online"

    def start(self, *, enabled: bool) -> None:
        self._capture.start()
        self.enable(on=enabled)

    def enable(self, *, on: bool) -> None:
        """Open the camera, or close it. What waits in the outbox is sent all the same."""
        with self._lock:
            self._enabled = on
            if not on:
                self._say("disabled")
            elif self._status != "online":
                self._say("offline")
            self._topics.enabled(on=on)
        self._capture.switch(on=on)

    def enable_order(self, payload: bytes) -> None:
        """`ON` or `OFF` from the topic; PayloadMalformed for anything else."""
        if payload not in STATES:
            raise PayloadMalformed(f"camera {self.name} is turned ON or OFF, not {payload[:16]!r}")
        self.enable(on=STATES[payload])

    def order(self, order: RefineOrder) -> None:
        """Have an order carried out; beyond `MAX_ORDERS` waiting, the oldest is forgotten."""
        if len(self._orders) == MAX_ORDERS:
            self._counters.add("aiflow_orders_dropped_total")
        self._orders.append(order)
        self._capture.wake()

    def stop(self) -> None:
        """Ask the thread to end, and say so; does not wait for it."""
        self._capture.close()
        with self._lock:
            self._enabled = False
            self._say("offline")

    def join(self, timeout_s: float) -> bool:
        """After `stop`: wait for the thread; False if it does not end."""
        return self._capture.join(timeout_s)

    def _on_status(self, status: Status) -> None:
        """What the capture says counts only while the camera is on."""
        with self._lock:
            if self._enabled:
                self._say(status)

    def _say(self, status: str) -> None:
        """Under the lock, so that the last word on the topic is the last one here."""
        if status != self._status:
            self._status = status
            self._topics.status(status)

    # The camera's thread: whatever goes wrong there costs one frame or one order.

    def _take(self, frame: Frame) -> None:
        try:
            self._guarded(lambda: self._offer(frame))
        finally:
            frame.release()

    def _carry_out(self) -> None:
        while self._orders:
            order = self._orders.popleft()
            self._guarded(lambda: self._refine(order))  # noqa: B023 - called at once

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StorageError as error:
            self._faults.record("storage", error)
            self._on_storage_fault(error)
        except AiflowError as error:
            self._faults.record(getattr(error, "reason", type(error).__name__), error)
        except Exception as error:  # noqa: BLE001 - outermost loop of a frame
            self._faults.bug(error)

    def _offer(self, frame: Frame) -> None:
        renewed = self._pipeline.renewed()
        if renewed or frame.image.shape != self._described:
            height, width = frame.image.shape[:2]
            self._pipeline.describe(self._describe(width, height))
            self._described = frame.image.shape
        accepted = self._pipeline.offer(frame)
        if accepted is not None and self._snapshots is not None:
            self._pipeline.budget.spend(self._snapshots.take(frame.image))

    def _refine(self, order: RefineOrder) -> None:
        payload = self._pipeline.refine(order)
        if payload is not None:
            self._pipeline.budget.spend(self._topics.embedding(payload))

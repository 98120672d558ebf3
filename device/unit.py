"""One camera of a device: its capture, its stream thread, and what it says of itself.

capture thread ──> slot ──> stream thread ──> outbox ──> courier
network thread ──> orders, ON / OFF
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from aiflow.common.errors import AiflowError, PayloadMalformed, StorageError
from aiflow.common.exposition import Reading, Total
from aiflow.common.metrics import Counters, Faults
from aiflow.common.watchdog import Pulse
from aiflow.common.wire import RefineOrder
from aiflow.device.camera import Frame
from aiflow.device.capture import Capture, Limits, Process, Status
from aiflow.device.slot import Slot
from aiflow.device.snapshots import Snapshots
from aiflow.device.stream import Stream
from aiflow.device.voice import Voice

log = logging.getLogger(__name__)

STATES: Final = {b"ON": True, b"OFF": False}


class CameraUnit:
    """One camera, between `start` and `stop`."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        name: str,
        launch: Callable[[], Process],
        stream: Stream,
        voice: Voice,
        *,
        snapshots: Snapshots | None = None,
        limits: Limits,
        counters: Counters,
        on_storage_fault: Callable[[StorageError], None],
    ) -> None:
        """`launch` starts a process of the camera; without `snapshots` nobody sees a picture.

        `on_storage_fault` is called on the stream thread.
        """
        self.name = name
        self._stream = stream
        self.slot = Slot()
        self._voice = voice
        self._snapshots = snapshots
        self._on_storage_fault = on_storage_fault
        self._faults = Faults(counters, "aiflow_stream_faults_total", log)
        self._capture = Capture(
            name, launch, self.slot.put, self._on_status, limits=limits, counters=counters
        )
        self._lock = threading.Lock()
        self._enabled = False  # this and _status under the lock
        self._described: tuple[int, ...] = ()
        self._status = ""
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name=f"stream {name}", daemon=True)

    def stats(self) -> dict[str, int | float | str | bool]:
        """Present values, and mean stage times since the last call."""
        stream = self._stream
        return {
            "status": self._status,
            "frozen": self._capture.frozen,
            "captured": self.slot.captured,
            "replaced": self.slot.replaced,
            "looked_at": stream.looked_at,
            "encoded": stream.encoded,
            "accepted": stream.accepted,
            **stream.budget.stats(time.monotonic()),
            **stream.stages.take(),
        }

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        stream, labels = self._stream, {"camera": self.name}
        yield Reading("aiflow_camera_online", self.online, labels)
        for step, count in (
            ("captured", self.slot.captured),
            ("replaced", self.slot.replaced),
            ("looked_at", stream.looked_at),
            ("encoded", stream.encoded),
            ("accepted", stream.accepted),
        ):
            yield Reading("aiflow_frames_total", count, labels | {"step": step})
        for stage, total in stream.stages.totals().items():
            yield Reading(f"aiflow_{stage}_seconds", Total(*total), labels)

    def ask(self) -> None:
        """Want a turn of both threads. The camera itself is not asked: it has its own time."""
        self.pulse.ask()
        self.slot.poke()
        self._capture.ask()

    @property
    def silent(self) -> list[str]:
        """Which threads have not come around since."""
        pulses = {"stream": self.pulse, "capture": self._capture.pulse}
        return [f"{thread} {self.name}" for thread, pulse in pulses.items() if pulse.silent]

    @property
    def online(self) -> bool:
        return self._status == "online"

    def start(self, *, enabled: bool) -> None:
        self._thread.start()
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
            self._voice.enabled(on=on)
        self._capture.switch(on=on)

    def enable_order(self, payload: bytes) -> None:
        """`ON` or `OFF` from the topic; PayloadMalformed for anything else."""
        if payload not in STATES:
            raise PayloadMalformed(f"camera {self.name} is turned ON or OFF, not {payload[:16]!r}")
        self.enable(on=STATES[payload])

    def stop(self) -> None:
        """Ask both threads to end, and say so; waits for neither."""
        self._capture.close()
        self.slot.close()
        with self._lock:
            self._enabled = False
            self._say("offline")

    def join(self, timeout_s: float) -> bool:
        """After `stop`: wait for the threads; False if one of them does not end."""
        deadline = time.monotonic() + timeout_s
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        ended = self._capture.join(max(0.0, deadline - time.monotonic()))
        return ended and not self._thread.is_alive()

    def _on_status(self, status: Status) -> None:
        """What the capture says counts only while the camera is on."""
        with self._lock:
            if self._enabled:
                self._say(status)

    def _say(self, status: str) -> None:
        """Under the lock, so that the last word on the topic is the last one here."""
        if status != self._status:
            self._status = status
            self._voice.status(status)

    def _run(self) -> None:
        while not self.slot.closed:
            try:
                taken = self.slot.take()
                if isinstance(taken, RefineOrder):
                    self._refine(taken)
                elif taken is not None:
                    self._offer(taken)
            except StorageError as error:
                self._faults.record("storage", error)
                self._on_storage_fault(error)
            except AiflowError as error:
                self._faults.record(getattr(error, "reason", type(error).__name__), error)
            except Exception:
                # The outermost loop of this thread: a bug costs one frame.
                log.exception("camera %s: a frame failed by a fault of ours", self.name)
                continue
            self.pulse.beat()

    def _offer(self, frame: Frame) -> None:
        try:
            if frame.image.shape != self._described:
                self._stream.describe(self._voice.descriptor(frame.image))
                self._described = frame.image.shape
            accepted = self._stream.offer(frame)
            if accepted is not None and self._snapshots is not None:
                self._stream.budget.spend(self._snapshots.take(frame.image))
        finally:
            frame.release()

    def _refine(self, order: RefineOrder) -> None:
        payload = self._stream.refine(order)
        if payload is not None:
            self._stream.budget.spend(self._voice.embedding(payload))

"""Keeps one camera running: opens it, reads it in a thread, and opens it again when it fails.

A read that never returns cannot be ended from within the process. Such a thread is abandoned and
another one opens the camera anew, at most `MAX_ABANDONED` times; the owner of the camera calls
`check` now and then. Whatever runs the reading is behind `start` and `stop`, so that a process
that can be killed may take the thread's place.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from typing import Final, Literal

from aiflow.common.errors import AiflowError
from aiflow.common.metrics import Counters
from aiflow.device.camera import Camera, Frame

log = logging.getLogger(__name__)

Status = Literal["online", "offline"]

BACKOFF_S: Final = (0.5, 30.0)
STEADY_S: Final = 5.0
"""A camera that ran this long is opened again after the shortest pause."""
OPEN_S: Final = 10.0
"""Longest time that opening may take, name look-up and time-outs of a network camera included."""
MAX_ABANDONED: Final = 2


class Capture:
    """One camera. `deliver` is called on the capture thread, `on_status` there or in `check`."""

    def __init__(
        self,
        name: str,
        open_camera: Callable[[], Camera],
        deliver: Callable[[Frame], None],
        on_status: Callable[[Status], None],
        *,
        stall_s: float,
        counters: Counters,
    ) -> None:
        """`stall_s` is the longest time that one read may take."""
        self._name = name
        self._open_camera = open_camera
        self._deliver = deliver
        self._on_status = on_status
        self._stall_s = stall_s
        self._counters = counters
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._abandoned: list[_Run] = []  # they hang
        self._ending: list[_Run] = []  # they were stopped
        self._fault = ""
        self.turns = 0
        """Frames delivered and attempts that failed."""

    @property
    def running(self) -> bool:
        """Whether the camera is to be read: started, not stopped, and not at its end."""
        run = self._run
        return run is not None and not run.stopped.is_set()

    @property
    def overdue(self) -> bool:
        """Whether the camera hangs; after a `check`, that nothing can be done about it here."""
        run = self._run
        return run is not None and not run.stopped.is_set() and run.overdue

    def start(self) -> None:
        with self._lock:
            if not self.running:
                self._begin(pauses=0)

    def stop(self) -> None:
        """End the reading; does not wait for a read that is under way."""
        with self._lock:
            run, self._run = self._run, None
            if run is not None:
                run.stop()
                self._ending = [one for one in self._ending if one.is_alive()] + [run]

    def join(self, timeout_s: float) -> bool:
        """After `stop`: wait for the threads; False if a camera keeps one of them even so."""
        deadline = time.monotonic() + timeout_s
        threads = self._ending + self._abandoned
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def check(self) -> None:
        """Notice a stall, and open the camera anew if there is one."""
        with self._lock:
            run = self._run
            if run is None or not self.overdue:
                return
            self._abandoned = [one for one in self._abandoned if one.is_alive()]
            if len(self._abandoned) < MAX_ABANDONED:
                run.stop()
                self._abandoned.append(run)
                self._begin(pauses=1)
                self._counters.add("aiflow_camera_stalls_total")
        self._failed("it hangs, neither giving a frame nor failing")

    def _begin(self, pauses: int) -> None:
        self._run = _Run(self._name, self._serve, pauses)
        self._run.start()

    def _serve(self, run: _Run) -> None:
        """Read until stopped, or until the camera fails or ends."""
        try:
            run.enter(OPEN_S)
            camera = self._open_camera()
        except AiflowError as error:
            self._failed_in(run, str(error))
            return
        run.reads(camera)
        try:
            self._read(run, camera)
        except AiflowError as error:
            self._failed_in(run, str(error))
        finally:
            camera.close()

    def _read(self, run: _Run, camera: Camera) -> None:
        delivered = False
        while True:
            run.enter(self._stall_s)
            frame = camera.read()
            run.leave()
            if run.stopped.is_set():
                return
            if frame is None:
                log.info("camera %s has come to its end", self._name)
                run.stopped.set()
                self._on_status("offline")
                return
            self.turns += 1
            self._deliver(frame)
            if not delivered:
                delivered = True
                self._fault = ""
                self._on_status("online")

    def _failed_in(self, run: _Run, fault: str) -> None:
        run.leave()
        if not run.stopped.is_set():
            self.turns += 1
            self._counters.add("aiflow_camera_reconnects_total")
            self._failed(fault)

    def _failed(self, fault: str) -> None:
        if fault != self._fault:  # the same one over and over is told once
            self._fault = fault
            log.warning("camera %s: %s (it is opened again until it works)", self._name, fault)
        self._on_status("offline")


class _Run(threading.Thread):
    """One thread's life; `stopped` outlives it."""

    def __init__(self, name: str, serve: Callable[[_Run], None], pauses: int) -> None:
        super().__init__(name=f"capture {name}", daemon=True)
        self.stopped = threading.Event()
        self._serve = serve
        self._pauses = pauses
        self._deadline = math.inf
        self._camera: Camera | None = None

    def reads(self, camera: Camera) -> None:
        """From now on this camera may be interrupted."""
        self._camera = camera
        if self.stopped.is_set():
            camera.interrupt()

    def stop(self) -> None:
        """Ask the thread to end; any thread may."""
        self.stopped.set()
        camera = self._camera
        if camera is not None:
            camera.interrupt()

    @property
    def overdue(self) -> bool:
        """Whether the camera keeps this thread waiting for too long."""
        return time.monotonic() > self._deadline

    def enter(self, longest_s: float) -> None:
        """The camera is called now."""
        self._deadline = time.monotonic() + longest_s

    def leave(self) -> None:
        self._deadline = math.inf

    def run(self) -> None:
        while not self.stopped.wait(self._pause_s()):
            began = time.monotonic()
            try:
                self._serve(self)
            except Exception:
                # The outermost loop of this thread: a bug in a camera is a failure of it.
                log.exception("%s failed by a fault of ours", self.name)
            self.leave()
            self._pauses = 1 if time.monotonic() - began >= STEADY_S else self._pauses + 1

    def _pause_s(self) -> float:
        if self._pauses == 0:
            return 0.0
        longest = min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(self._pauses - 1, 16))
        return random.uniform(longest / 2, longest)

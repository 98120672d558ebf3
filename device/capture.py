"""Keeps one camera running: starts its process, takes its frames, starts it again when it fails.

    camera's thread:  wait for ON ─> process ─> freshest frame ─> deliver
                        ^              │ fails, dies, hangs: ended, and after a pause started anew
                        └── OFF, end ──┘

Whatever a driver does, this thread waits for no longer than it says itself: to be woken, for a
message or a deadline, and for the kernel to end a process `KILL_S` at most. A frame that has become
old while the one before was worked on is left out, and counted.
"""

from __future__ import annotations

import logging
import math
import random
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from aiflow.common.errors import AiflowError, CameraError
from aiflow.common.metrics import Counters, Faults
from aiflow.common.watchdog import Pulse
from aiflow.device.camera import Frame
from aiflow.device.camera.exchange import Alive, Ended, Failed, Message, Shot
from aiflow.device.frozen import FrozenView
from aiflow.device.wakeup import WakeUp

log = logging.getLogger(__name__)

Status = Literal["online", "offline"]
_Outcome = Literal["off", "ended", "died", "failed"]

BACKOFF_S: Final = (0.5, 30.0)
STEADY_S: Final = 5.0
"""A camera that ran this long is opened again after the shortest pause."""
OPEN_S: Final = 15.0
"""Longest time until a camera is open: start of its process, name look-up and time-outs of a
network camera included."""
LOG_EVERY_S: Final = 60.0
"""Bad frames are counted, and told so often."""
GRACE_S: Final = 0.5
"""A process that is not wanted any more may take this long to close its camera."""


class Process(Protocol):
    """A camera's process; see `aiflow.device.camera.process`."""

    def fileno(self) -> int: ...
    def hear(self) -> Message | None: ...
    def frame(self, shot: Shot) -> Frame: ...
    def end(self, grace_s: float) -> bool: ...
    @property
    def fate(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a camera is taken to task for."""

    stall_s: float
    """Longest time between two frames."""
    frozen_s: float = math.inf
    """Longest time for which it may give the very same picture."""
    reopen_frozen: bool = True
    """Whether its process is then started anew, once."""


class Capture:
    """One camera. `deliver`, `on_status` and `on_turn` are called on its thread."""

    def __init__(
        self,
        name: str,
        launch: Callable[[], Process],
        deliver: Callable[[Frame], None],
        on_status: Callable[[Status], None],
        on_turn: Callable[[], None] | None = None,
        *,
        limits: Limits,
        counters: Counters,
    ) -> None:
        """`launch` starts a process that opens the camera; `on_turn` is called after each wait."""
        self._name = name
        self._launch = launch
        self._deliver = deliver
        self._on_status = on_status
        self._on_turn = on_turn
        self._limits = limits
        self._counters = counters
        self._view = FrozenView(limits.frozen_s)
        self._woken = WakeUp()
        self._wanted: object | None = None  # another object each time that it is switched on
        self._closed = False
        self._left: Process | None = None  # killed, but the kernel does not let it end
        self._fault = ""
        self._delivered = False  # by the process of now
        self._bad = BadFrames(name, counters)
        self._faults = Faults(counters, "aiflow_stream_faults_total", log)
        self.captured = 0
        self.replaced = 0
        """By a fresher one, before anybody looked at it."""
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)

    @property
    def frozen(self) -> bool:
        """Whether the camera gives the very same picture for too long."""
        return self._view.frozen

    def start(self) -> None:
        """Begin to watch; the camera is off."""
        self._thread.start()

    def switch(self, *, on: bool) -> None:
        """Open the camera, or close it; also opens one that has come to its end again."""
        if not on:
            self._wanted = None
        elif self._wanted is None:
            self._wanted = object()
        self.wake()

    def wake(self) -> None:
        """Let the thread take a turn."""
        self._woken.wake()

    def ask(self) -> None:
        """Want a sign of life of the thread."""
        self.pulse.ask()
        self.wake()

    def close(self) -> None:
        """Let process and thread end, for good; waits for neither."""
        self._closed = True
        self.switch(on=False)
        if self._thread.ident is None:  # it was never started
            self._woken.close()

    def join(self, timeout_s: float) -> bool:
        """After `close`: wait for the thread, and False if it does not end."""
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        done: object | None = None
        while not self._closed:
            wanted = self._wanted
            if wanted is None or wanted is done:
                self._wait(math.inf)
            else:
                self._keep_open(wanted)
                done = wanted
        self._woken.close()

    def _keep_open(self, wanted: object) -> None:
        """Until the camera is switched off or comes to its end."""
        pauses = 0
        while self._wanted is wanted:
            began = time.monotonic()
            self._delivered = False
            try:
                if self._serve(wanted) == "ended":
                    log.info("camera %s has come to its end", self._name)
                    self._on_status("offline")
                    return
            except AiflowError as error:
                self._failed(str(error))
            except Exception as error:  # noqa: BLE001 - outermost loop: it costs one process
                self._faults.bug(error)
                self._on_status("offline")
            steady = self._delivered or time.monotonic() - began >= STEADY_S
            pauses = 1 if steady else pauses + 1
            self._rest(wanted, _pause_s(pauses))

    def _serve(self, wanted: object) -> _Outcome:
        """One process's life. Raises CameraError when there is none, or it ends by itself."""
        if self._left is not None and not self._left.end(0.0):
            raise CameraError(self._left.fate)
        self._left = process = self._launch()
        try:
            outcome = self._listen(process, wanted)
        except AiflowError as error:
            self._failed(str(error))  # before the process ends, which may take its time
            return "failed"
        finally:
            if process.end(GRACE_S):
                self._left = None
        if outcome == "died":
            self._counters.add("aiflow_camera_deaths_total")
            raise CameraError(process.fate)
        return outcome

    def _listen(self, process: Process, wanted: object) -> _Outcome:
        """Take in what it says. Raises CameraError when the camera fails or hangs."""
        deadline = time.monotonic() + OPEN_S
        self._bad.begin()
        while self._wanted is wanted:
            heard = self._wait(deadline - time.monotonic(), process)
            if not heard:
                if time.monotonic() >= deadline:
                    self._counters.add("aiflow_camera_stalls_total")
                    raise CameraError("it hangs, neither giving a frame nor failing")
                continue
            frame, message = self._freshest(process)
            if frame is not None:
                if not self._delivered:
                    self._delivered = True
                    self._fault = ""
                    self._on_status("online")
                self._deliver(frame)
            if message is None:
                return "died"
            if isinstance(message, Failed):
                raise CameraError(message.fault)
            if isinstance(message, Ended):
                return "ended"
            if isinstance(message, Alive):
                self._bad.take(message.bad)
            opening = isinstance(message, Alive) and not self._delivered
            silent_at = time.monotonic() + self._limits.stall_s
            deadline = max(deadline, silent_at) if opening else silent_at
        return "off"

    def _freshest(self, process: Process) -> tuple[Frame | None, Message | None]:
        """The latest frame of those that have come, and the latest message.

        Raises CameraError for what makes no sense, and when the view has frozen for too long.
        """
        more = select.poll()
        more.register(process.fileno(), select.POLLIN)
        frame: Frame | None = None
        try:
            while True:
                message = process.hear()
                if not isinstance(message, Shot):
                    return frame, message
                self.captured += 1
                if frame is not None:
                    self.replaced += 1
                    frame.release()
                frame = process.frame(message)
                self._look(message)
                if not more.poll(0):
                    return frame, message
        except BaseException:
            if frame is not None:
                frame.release()
            raise

    def _look(self, shot: Shot) -> None:
        """Raises CameraError when the camera is to be opened anew, as its view has frozen."""
        was_frozen = self._view.frozen
        if self._view.look(shot.checksum, time.monotonic()):
            self._counters.add("aiflow_camera_frozen_total")
            fault = f"it gives the very same picture for {self._limits.frozen_s:g} s"
            if self._limits.reopen_frozen:
                raise CameraError(fault)
            log.warning("camera %s: %s", self._name, fault)
        elif was_frozen and not self._view.frozen:
            log.info("camera %s: its picture changes again", self._name)

    def _failed(self, fault: str) -> None:
        self._counters.add("aiflow_camera_reconnects_total")
        if fault != self._fault:  # the same one over and over is told once
            self._fault = fault
            log.warning("camera %s: %s (it is opened again until it works)", self._name, fault)
        self._on_status("offline")

    def _rest(self, wanted: object, pause_s: float) -> None:
        """Unless the camera is switched meanwhile."""
        until = time.monotonic() + pause_s
        while self._wanted is wanted and (left_s := until - time.monotonic()) > 0:
            self._wait(left_s)

    def _wait(self, timeout_s: float, process: Process | None = None) -> bool:
        """Until woken, or the time is over, or the process has said something; whether it has."""
        heard = self._woken.wait(timeout_s, None if process is None else process.fileno())
        self.pulse.beat()
        if self._on_turn is not None:
            self._on_turn()
        return heard


class BadFrames:
    """Counts the bad frames of one camera, and tells their number now and then."""

    def __init__(self, camera: str, counters: Counters) -> None:
        self._camera = camera
        self._counters = counters
        self._seen = 0  # of the process of now
        self._untold = 0
        self._told_at = -math.inf

    def begin(self) -> None:
        """A new process counts from 0."""
        self._seen = 0

    def take(self, seen: int) -> None:
        """`seen` is the process's own count."""
        new, self._seen = max(0, seen - self._seen), seen
        if new:
            self._counters.add("aiflow_camera_bad_frames_total", new)
        self._untold += new
        now = time.monotonic()
        if self._untold and now - self._told_at >= LOG_EVERY_S:
            log.warning("camera %s: skipped %d bad frames", self._camera, self._untold)
            self._untold, self._told_at = 0, now


def _pause_s(pauses: int) -> float:
    longest = min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(pauses - 1, 16))
    return random.uniform(longest / 2, longest)

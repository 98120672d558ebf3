"""What every camera gives, and what it promises."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import CameraError

Image = NDArray[np.uint8]
"""uint8, (height, width, 3), BGR."""


def _nobody_waits() -> None:
    """The memory of an ordinary picture is its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture. `captured_at` is wall-clock seconds since 1970, `index` counts from 0.

    The picture may lie in memory that its camera writes to again: whoever has done with the frame
    calls `release`, and keeps nothing of `image` but copies.
    """

    image: Image
    captured_at: float
    index: int
    release: Callable[[], None] = _nobody_waits


DATA_S: Final = 60.0
"""Longest time for which data may come without a picture: H.264 may wait so long for a key frame,
and a slow line takes its time for a large picture."""


class Tally:
    """What one camera has given, good and bad; written by the reading thread, read by any."""

    def __init__(self, stall_s: float = math.inf) -> None:
        """A camera is dead that has given nothing but bad frames for `stall_s`."""
        self.bad = 0
        """Frames that were skipped, since the start."""
        self.good_at: float | None = None
        """Monotonic time of the last good frame, or of the answer that nothing has changed."""
        self.quiet_until = 0.0
        """Monotonic time until which the source rests by its own plan."""
        self._stall_s = stall_s
        self._bad_since: float | None = None

    def good(self) -> None:
        """A frame came whole."""
        self.good_at = time.monotonic()
        self._bad_since = None

    def skip(self, fault: str) -> None:
        """Count a bad frame; raises CameraError with `fault` when the camera gives nothing else."""
        self.bad += 1
        now = time.monotonic()
        if self._bad_since is None:
            self._bad_since = now
        elif now - self._bad_since >= self._stall_s:
            raise CameraError(fault)


class Camera(Protocol):
    """A source of frames, read by one thread."""

    @property
    def tally(self) -> Tally:
        """What it has given so far."""

    @property
    def data_s(self) -> float:
        """Longest time for which data may come without a picture, after the first one."""

    def read(self) -> Frame | None:
        """Wait for the next frame that is due; None when the source has ended for good.

        Raises CameraError when there is none to be had: missing, unplugged, silent.
        """

    def interrupt(self) -> None:
        """From any thread: let a read that only waits for its turn return soon."""

    def close(self) -> None:
        """Release the source, on the reading thread; may be called twice."""


class Pace:
    """Makes a source that is always ready come at `fps`. One thread waits, any may end it."""

    def __init__(self, fps: float) -> None:
        self._period_s = 1.0 / fps
        self._due = time.monotonic()
        self._ended = threading.Event()

    def wait(self) -> None:
        """Return when the next frame is due; time lost by a slow reader is not made up for."""
        self._ended.wait(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due, time.monotonic() - self._period_s) + self._period_s

    @property
    def due(self) -> bool:
        """Whether a frame is due now; if so, the next one is a period later."""
        if time.monotonic() < self._due:
            return False
        self.wait()
        return True

    @property
    def due_at(self) -> float:
        """Monotonic time at which the next frame is due."""
        return self._due

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def end(self) -> None:
        """Let no wait last any longer."""
        self._ended.set()

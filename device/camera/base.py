"""What every camera gives, and what it promises."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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


class Camera(Protocol):
    """A source of frames, read by one thread."""

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

    def end(self) -> None:
        """Let no wait last any longer."""
        self._ended.set()

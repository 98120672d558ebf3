"""The novelty gate: which frames are new enough to be sent.

    frame -> pixels (thumbnail against the last encoded one) -> encoder -> symbols (against the
    last accepted ones) -> accepted

The cheap test decides whether the encoder runs at all, the second whether the meaning changed. The
thumbnail is compared with the last *encoded* frame: a frame that looks different but means the same
moves that reference on, so that a slow drift of light does not keep the encoder running, while
symbols are still compared with what was last sent.
"""

from __future__ import annotations

from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.device.camera import Image

THUMBNAIL: Final = (32, 24)
"""(width, height)."""

Reason = Literal["first", "changed", "interval", "order"]


class Gate:
    """State of one stream; times are seconds of any steadily growing clock."""

    def __init__(self, *, pixel_mean: float, pixel_peak: float, max_interval_s: float) -> None:
        self._pixel_mean = pixel_mean
        self._pixel_peak = pixel_peak
        self._max_interval_s = max_interval_s
        self._thumbnail: NDArray[np.uint8] | None = None
        self._symbols: NDArray[np.uint8] | None = None
        self._accepted_at = 0.0
        self._ordered = False

    def order(self) -> None:
        """Let the next frame pass, whatever it shows."""
        self._ordered = True

    def look(self, image: Image, now: float) -> Reason | None:
        """Why this frame is worth encoding; None if it is not."""
        thumbnail = _thumbnail(image)
        reason = self._reason(thumbnail, now)
        if reason is not None:
            self._thumbnail = thumbnail
        return reason

    def changed(self, symbols: NDArray[np.uint8], reason: Reason, least: int) -> bool:
        """Whether the frame, uint8 (k, D) as it would be sent, is new: `least` symbols differ."""
        return reason != "changed" or _distance(symbols, self._symbols) >= least

    def accepted(self, symbols: NDArray[np.uint8], now: float) -> None:
        """The frame is in safe hands: from now on it is what others are compared with."""
        self._symbols = symbols
        self._accepted_at = now
        self._ordered = False

    def _reason(self, thumbnail: NDArray[np.uint8], now: float) -> Reason | None:
        if self._thumbnail is None or self._symbols is None:
            return "first"
        if self._ordered:
            return "order"
        if now - self._accepted_at >= self._max_interval_s:
            return "interval"
        change = cv2.absdiff(thumbnail, self._thumbnail)
        if cv2.mean(change)[0] >= self._pixel_mean or cv2.minMaxLoc(change)[1] >= self._pixel_peak:
            return "changed"
        return None


def _thumbnail(image: Image) -> NDArray[np.uint8]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # first: one channel is reduced in half the time
    return cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _distance(one: NDArray[np.uint8], other: NDArray[np.uint8] | None) -> int:
    """Number of symbols that differ; further tokens of the first one do."""
    if other is None:
        return one.size
    common = min(len(one), len(other))
    return int(np.count_nonzero(one[:common] != other[:common])) + one[common:].size

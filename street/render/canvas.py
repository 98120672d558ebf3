"""A picture to paint on, in resolution-free coordinates.

Lengths are in picture widths: x in 0..1 from the left, y in 0..0.75 from the top. Polygons are
filled with sub-pixel vertices and anti-aliased edges, so a picture of 320x240 and one of 640x480
look the same once reduced. Light and haze are applied to each colour as it is used, which costs
nothing per pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.street.layout import HEIGHT

Rgb = tuple[float, float, float]
"""Red, green, blue in 0..255."""
Points = NDArray[np.float32]
"""(n, 2): x, y in picture widths."""
Image = NDArray[np.uint8]
"""(height, width, 3), BGR."""

_SHIFT = 4  # fractional bits of a vertex
_HALF = np.float32((1 << (_SHIFT - 1)) - 0.5)


@dataclass(frozen=True, slots=True)
class Air:
    """What lies between a colour and the eye."""

    light: Rgb = (1.0, 1.0, 1.0)
    """Factor of each channel."""
    haze: Rgb = (0.0, 0.0, 0.0)
    haze_amount: float = 0.0


class Canvas:
    """An image and the air through which the next shapes are seen."""

    def __init__(self, width: int, height: int) -> None:
        self.image: Image = np.empty((height, width, 3), np.uint8)
        self.air = Air()
        self._scale = np.array([width, height / HEIGHT], np.float32) * (1 << _SHIFT)
        self._hairline = max(1, round(width / 320))

    def bgr(self, colour: Rgb, *, glows: bool = False) -> tuple[float, float, float]:
        """How a colour looks through the air; what glows is not dimmed by the light."""
        air = self.air
        amount = air.haze_amount
        keep = 1.0 - amount
        red, green, blue = (1.0, 1.0, 1.0) if glows else air.light
        haze = air.haze
        return (
            keep * colour[2] * blue + amount * haze[2],
            keep * colour[1] * green + amount * haze[1],
            keep * colour[0] * red + amount * haze[0],
        )

    def fill(
        self, polygons: Sequence[Points] | Points, colour: Rgb, *, glows: bool = False
    ) -> None:
        """Fill polygons; where two of one call overlap there is a hole.

        Many polygons of k corners may come as one array (n, k, 2), which is faster.
        """
        self.fill_pixels(self._every(polygons), self.bgr(colour, glows=glows))

    def fill_pixels(
        self, polygons: Sequence[NDArray[np.int32]], bgr: tuple[float, float, float]
    ) -> None:
        """Fill polygons whose vertices `pixels` has made."""
        if polygons:
            cv2.fillPoly(self.image, polygons, bgr, cv2.LINE_AA, _SHIFT)

    def outline_pixels(
        self, polygons: Sequence[NDArray[np.int32]], bgr: tuple[float, float, float]
    ) -> None:
        """Trace closed polygons with a hairline (1/320 of the width)."""
        closed = True
        cv2.polylines(self.image, polygons, closed, bgr, self._hairline, cv2.LINE_AA, _SHIFT)

    def strokes(
        self, lines: Sequence[Points] | Points, colour: Rgb, *, glows: bool = False
    ) -> None:
        """Draw open lines, one hairline thick."""
        closed, bgr = False, self.bgr(colour, glows=glows)
        pixels = self._every(lines)
        cv2.polylines(self.image, pixels, closed, bgr, self._hairline, cv2.LINE_AA, _SHIFT)

    def blend(self, polygons: Sequence[Points], colour: Rgb, alpha: float) -> None:
        """Fill polygons half-transparently with a colour that glows."""
        pixels = [self._pixels(p) for p in polygons]
        every = np.concatenate(pixels)
        height, width = self.image.shape[:2]
        left, top = np.clip((every.min(axis=0) >> _SHIFT) - 1, 0, (width, height))
        right, bottom = np.clip((every.max(axis=0) >> _SHIFT) + 2, 0, (width, height))
        if right <= left or bottom <= top:
            return
        below = self.image[top:bottom, left:right]
        above = below.copy()
        offset = np.array([left, top], np.int32) << _SHIFT
        bgr = self.bgr(colour, glows=True)
        cv2.fillPoly(above, [p - offset for p in pixels], bgr, cv2.LINE_AA, _SHIFT)
        self.image[top:bottom, left:right] = cv2.addWeighted(above, alpha, below, 1 - alpha, 0)

    def gradient(self, top: float, bottom: float, stops: Sequence[Rgb]) -> None:
        """Paint the whole width between two heights with evenly spaced colours."""
        height = self.image.shape[0]
        first, last = (round(y / HEIGHT * height) for y in (top, bottom))
        rows = (np.arange(first, last, dtype=np.float32) + 0.5) / height * HEIGHT
        at = np.linspace(top, bottom, len(stops))
        bgr = np.array([self.bgr(stop, glows=True) for stop in stops])
        column = np.stack([np.interp(rows, at, bgr[:, c]) for c in range(3)], axis=1)
        cv2.repeat(
            column.astype(np.uint8)[:, None, :], 1, self.image.shape[1], self.image[first:last]
        )

    def pixels(self, points: Points) -> NDArray[np.int32]:
        """Fixed-point pixel coordinates for `fill_pixels`."""
        return self._pixels(points)

    def _every(self, polygons: Sequence[Points] | Points) -> list[NDArray[np.int32]]:
        if isinstance(polygons, np.ndarray):
            return list(self._pixels(polygons))
        return [self._pixels(p) for p in polygons]

    def _pixels(self, points: Points) -> NDArray[np.int32]:
        # A pixel's centre has integer coordinates in OpenCV and lies at .5 in ours; half a step
        # more makes the truncation round.
        return (points * self._scale - _HALF).astype(np.int32)

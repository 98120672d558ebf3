"""Polygons, and figures made of them.

Figures are drawn in hundredths of the picture's width at the near distance, x to the right,
y up from the ground, looking to the right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiflow.street.render.canvas import Points

Part = tuple[str, list[Points]]
"""A paint's name and polygons that do not overlap."""


def circle(corners: int) -> Points:
    """The unit circle as a polygon of 6 to 24 corners."""
    return _CIRCLES[corners]


def _make_circle(corners: int) -> Points:
    angles = np.linspace(0, 2 * math.pi, corners, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


_CIRCLES = {corners: _make_circle(corners) for corners in range(6, 25)}


def polygon(*coordinates: float) -> Points:
    """x, y, x, y, ..."""
    return np.array(coordinates, np.float32).reshape(-1, 2)


def box(left: float, low: float, right: float, high: float) -> Points:
    """An upright rectangle."""
    return polygon(left, low, right, low, right, high, left, high)


def round_box(left: float, low: float, right: float, high: float, radius: float) -> Points:
    """A rectangle with cut corners."""
    r = radius
    return polygon(
        *(left + r, low, right - r, low, right, low + r, right, high - r),
        *(right - r, high, left + r, high, left, high - r, left, low + r),
    )


def ellipse(x: float, y: float, rx: float, ry: float, corners: int = 14) -> Points:
    """An ellipse as a polygon."""
    return circle(corners) * np.array((rx, ry), np.float32) + np.array((x, y), np.float32)


def disc(x: float, y: float, radius: float, corners: int = 14) -> Points:
    """A circle as a polygon."""
    return ellipse(x, y, radius, radius, corners)


def limb(x0: float, y0: float, x1: float, y1: float, width: float) -> Points:
    """A straight bar from one point to another."""
    length = math.hypot(x1 - x0, y1 - y0) or 1.0
    nx, ny = (y0 - y1) / length * width / 2, (x1 - x0) / length * width / 2
    return polygon(x0 + nx, y0 + ny, x1 + nx, y1 + ny, x1 - nx, y1 - ny, x0 - nx, y0 - ny)


def ring(x: float, y: float, radius: float, width: float) -> list[Points]:
    """A circle's rim: the inner circle is a hole in the outer."""
    return [disc(x, y, radius, 16), disc(x, y, radius - width, 16)]


@dataclass(frozen=True, slots=True)
class Figure:
    """Parts from back to front, with all their points in one array for one transformation."""

    points: Points
    parts: tuple[tuple[str, tuple[slice, ...]], ...]

    def place(self, x: float, y: float, size: float, facing: int) -> NDArray[np.float32]:
        """All points in picture widths: ground centre at (x, y), `facing` -1 mirrors."""
        scale = np.array([facing * size / 100, -size / 100], np.float32)
        return self.points * scale + np.array([x, y], np.float32)


def figure(parts: Sequence[Part]) -> Figure:
    """Put parts together."""
    slices: list[tuple[str, tuple[slice, ...]]] = []
    every: list[Points] = []
    start = 0
    for paint, polygons in parts:
        spans = []
        for points in polygons:
            spans.append(slice(start, start + len(points)))
            start += len(points)
            every.append(points)
        slices.append((paint, tuple(spans)))
    return Figure(np.concatenate(every), tuple(slices))

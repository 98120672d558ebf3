"""The street itself: verge, two lanes and the strip between them, and the lamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from aiflow.street.layout import GROUND, HEIGHT
from aiflow.street.render.canvas import Canvas, Points, Rgb
from aiflow.street.render.light import Light, mix
from aiflow.street.render.shapes import box, ellipse

HORIZON = 0.405
"""y where the backdrop stands on the ground."""


@dataclass(frozen=True, slots=True)
class Surface:
    """Colours of the ground of one setting."""

    verge: Rgb
    far: Rgb
    strip: Rgb
    near: Rgb
    marks: Rgb
    """Kerbs and markings."""


SURFACES = {
    "town": Surface(
        (172, 164, 156), (112, 112, 118), (150, 146, 142), (104, 104, 110), (206, 204, 198)
    ),
    "park": Surface(
        (104, 158, 76), (206, 188, 150), (116, 170, 84), (212, 194, 156), (92, 142, 66)
    ),
    "harbour": Surface(
        (140, 142, 142), (150, 150, 152), (126, 128, 130), (158, 158, 160), (96, 96, 98)
    ),
    "market": Surface(
        (180, 150, 126), (170, 146, 128), (184, 158, 136), (176, 150, 130), (140, 116, 100)
    ),
    "countryside": Surface(
        (150, 176, 82), (178, 152, 112), (146, 172, 80), (184, 158, 118), (124, 146, 64)
    ),
    "factory": Surface(
        (104, 104, 100), (134, 132, 128), (110, 110, 108), (128, 126, 124), (196, 170, 60)
    ),
}
_SNOW_COVER = (0.85, 0.62, 0.85, 0.66, 0.5)  # how white each of them turns
_SNOW: Rgb = (238, 242, 248)


def surface_of(setting: str, weather: str) -> Surface:
    """The ground's colours: whitened by snow, darkened by rain."""
    dry = SURFACES[setting]
    if weather == "snow":
        covers = zip(_bands(dry), _SNOW_COVER, strict=True)
        return Surface(*(mix(colour, _SNOW, cover) for colour, cover in covers))
    if weather == "rain":
        return Surface(*(mix(c, (58, 66, 82), 0.42) for c in _bands(dry)))
    return dry


def _bands(surface: Surface) -> tuple[Rgb, Rgb, Rgb, Rgb, Rgb]:
    return surface.verge, surface.far, surface.strip, surface.near, surface.marks


def paint_ground(
    canvas: Canvas, setting: str, surface: Surface, light: Light, rng: np.random.Generator
) -> None:
    """Bands of ground from the horizon down, with marks and, in rain, puddles."""
    canvas.air = light.ground
    edges = (HORIZON, 0.445, 0.535, 0.6, HEIGHT + 0.01)
    for (top, bottom), colour in zip(pairwise(edges), _bands(surface)[:4], strict=True):
        canvas.fill([box(-0.02, top, 1.02, bottom)], colour)
    marks: list[Points] = [box(-0.02, y, 1.02, y + 0.004) for y in edges[1:4]]
    offset = float(rng.random()) * 0.1
    if setting in ("town", "factory"):
        marks += [
            box(x + offset, 0.664, x + offset + 0.07, 0.669) for x in np.arange(-0.2, 1.1, 0.16)
        ]
    elif setting == "market":
        rows = ((0.56, 0.0), (0.58, 0.05), (0.63, 0.02), (0.72, 0.07))
        marks += [
            box(x + dx, y, x + dx + 0.05, y + 0.004)
            for y, dx in rows
            for x in np.arange(-0.1, 1.1, 0.1)
        ]
    elif setting in ("park", "countryside"):
        marks += _tufts(rng)
    canvas.fill(marks, surface.marks)
    if light.weather == "rain":
        spots = rng.random((5, 3)).tolist()
        puddles = [
            ellipse(x, 0.55 + 0.19 * y, 0.05 + 0.05 * s, 0.007 + 0.006 * s) for x, y, s in spots
        ]
        for puddle in puddles:
            canvas.fill([puddle], mix(light.sky[2], (120, 130, 150), 0.4), glows=True)


def _tufts(rng: np.random.Generator) -> list[Points]:
    spots = rng.random((9, 2)).tolist()
    return [
        np.array([[x, y], [x + 0.006, y - 0.012], [x + 0.012, y]], np.float32)
        for x, y in ((a, 0.555 + 0.04 * b) for a, b in spots)
    ]


def paint_lamps(canvas: Canvas, light: Light, xs: Sequence[float], surface: Surface) -> None:
    """Street lamps on the strip behind the near lane, and their pools of light when lit."""
    canvas.air = light.ground
    if light.lamps:
        for y, grow, alpha in ((GROUND["far"], 0.8, 0.30), (GROUND["near"], 1.25, 0.34)):
            pool = mix(surface.near, (255, 226, 170), 0.5)
            for x in xs:
                canvas.blend([ellipse(x, y, 0.17 * grow, 0.042 * grow, 20)], pool, alpha)
    foot = 0.452
    poles = [box(x - 0.0035, 0.2, x + 0.0035, foot) for x in xs]
    canvas.fill(poles, (70, 72, 78))
    heads = [ellipse(x, 0.195, 0.014, 0.012, 10) for x in xs]
    if light.lamps:
        for x in xs:
            canvas.blend([ellipse(x, 0.2, 0.04, 0.04, 16)], (255, 224, 160), 0.3)
        canvas.fill(heads, (255, 240, 200), glows=True)
    else:
        canvas.fill(heads, (196, 198, 200))

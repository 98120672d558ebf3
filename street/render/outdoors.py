"""Settings in the open: park, harbour, countryside."""

from __future__ import annotations

import numpy as np

from aiflow.street.render.canvas import Canvas, Rgb
from aiflow.street.render.ground import HORIZON
from aiflow.street.render.light import Light
from aiflow.street.render.shapes import box, disc, ellipse, limb, polygon
from aiflow.street.render.skyline import LIT, snowy


def paint_park(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """A hedge, trees and a pond."""
    hedge = snowy((76, 128, 66), light, 0.5)
    canvas.fill([box(-0.02, HORIZON - 0.065, 1.02, HORIZON + 0.02)], hedge)
    bumps = [ellipse(x, HORIZON - 0.065, 0.085, 0.03) for x in np.arange(-0.02, 1.1, 0.17)]
    canvas.fill(bumps, hedge)
    pond = 0.2 + 0.6 * float(rng.random())
    canvas.fill([ellipse(pond, HORIZON + 0.004, 0.15, 0.016, 20)], (120, 172, 204))
    leaves: tuple[Rgb, ...] = ((66, 140, 62), (88, 158, 66), (58, 122, 74), (112, 160, 70))
    for i, (a, b, c) in enumerate(rng.random((6, 3)).tolist()):
        leaf = snowy(leaves[int(c * len(leaves))], light, 0.55)
        _tree(canvas, (i + 0.2 + 0.6 * a) / 6, 0.9 + 0.4 * b, leaf, HORIZON + 0.015)


def _tree(canvas: Canvas, x: float, size: float, leaf: Rgb, foot: float) -> None:
    canvas.fill([box(x - 0.012 * size, foot - 0.1 * size, x + 0.012 * size, foot)], (104, 78, 56))
    for dx, dy, r in ((-0.045, 0.12, 0.055), (0.045, 0.13, 0.055), (0.0, 0.175, 0.066)):
        canvas.fill([disc(x + dx * size, foot - dy * size, r * size)], leaf)


def paint_harbour(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """Water, cranes and ships."""
    water: Rgb = (70, 128, 168)
    canvas.fill([box(-0.02, HORIZON - 0.1, 1.02, HORIZON + 0.02)], water)
    ripples = [
        box(x, HORIZON - 0.09 + 0.085 * y, x + 0.06, HORIZON - 0.087 + 0.085 * y)
        for x, y in rng.random((14, 2)).tolist()
    ]
    for ripple in ripples:
        canvas.fill([ripple], (126, 176, 206))
    for x, flip in zip(rng.uniform(0.06, 0.94, 2).tolist(), (1, -1), strict=True):
        _crane(canvas, x, flip)
    first = float(rng.random())
    for i in range(2):
        x = (0.12 + 0.5 * i + 0.3 * first) % 1.0
        _ship(canvas, light, x, 0.9 + 0.4 * float(rng.random()), sails=i == 0)
    bollards = [
        box(x, HORIZON - 0.004, x + 0.016, HORIZON + 0.022) for x in np.arange(0.04, 1, 0.16)
    ]
    canvas.fill(bollards, (60, 62, 66))


def _crane(canvas: Canvas, x: float, flip: int) -> None:
    foot, top = HORIZON - 0.02, 0.1
    beams = (
        limb(x - 0.03, foot, x, top + 0.06, 0.009),
        limb(x + 0.03, foot, x, top + 0.06, 0.009),
        limb(x, top + 0.1, x, top, 0.01),
        limb(x - flip * 0.06, top + 0.05, x + flip * 0.17, top + 0.02, 0.009),
        limb(x, top, x + flip * 0.17, top + 0.02, 0.004),
        limb(x + flip * 0.15, top + 0.02, x + flip * 0.15, top + 0.12, 0.003),
    )
    for beam in beams:
        canvas.fill([beam], (176, 120, 84))


def _ship(canvas: Canvas, light: Light, x: float, size: float, *, sails: bool) -> None:
    y = HORIZON - 0.045
    s = size
    hull = polygon(
        x - 0.1 * s,
        y - 0.03 * s,
        x + 0.11 * s,
        y - 0.03 * s,
        x + 0.085 * s,
        y + 0.012,
        x - 0.085 * s,
        y + 0.012,
    )
    if sails:
        canvas.fill([limb(x, y - 0.03 * s, x, y - 0.2 * s, 0.005)], (92, 74, 60))
        canvas.fill(
            [
                polygon(
                    x + 0.006, y - 0.19 * s, x + 0.075 * s, y - 0.045 * s, x + 0.006, y - 0.045 * s
                )
            ],
            (236, 230, 214),
        )
        canvas.fill(
            [
                polygon(
                    x - 0.006, y - 0.17 * s, x - 0.06 * s, y - 0.045 * s, x - 0.006, y - 0.045 * s
                )
            ],
            (214, 204, 186),
        )
    else:
        canvas.fill([box(x - 0.05 * s, y - 0.075 * s, x + 0.03 * s, y - 0.03 * s)], (226, 226, 222))
        canvas.fill([box(x - 0.01 * s, y - 0.115 * s, x + 0.015 * s, y - 0.075 * s)], (150, 84, 74))
        holes = [
            box(x + d * s, y - 0.062 * s, x + (d + 0.014) * s, y - 0.046 * s)
            for d in (-0.042, -0.018, 0.006)
        ]
        canvas.fill(holes, LIT if light.lamps else (96, 110, 124), glows=light.lamps)
    canvas.fill([hull], (92, 84, 92))


def paint_countryside(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """Hills, a field of wheat, a barn and a fence."""
    a, b, c, d = rng.random(4).tolist()
    hills: tuple[tuple[float, float, float, Rgb], ...] = (
        (0.15 + 0.2 * a, 0.19, 0.5, (110, 140, 120)),
        (0.75 + 0.2 * b, 0.16, 0.55, (124, 156, 112)),
        (0.4 + 0.3 * c, 0.10, 0.6, (148, 174, 96)),
    )
    for x, height, half, colour in hills:
        arc = np.linspace(-1, 1, 18)
        top = HORIZON - height * np.cos(arc * np.pi / 2) ** 2
        points = np.stack([x + half * arc, top], axis=1).astype(np.float32)
        canvas.fill([points], snowy(colour, light, 0.7))
    wheat = snowy((222, 196, 104), light, 0.8)
    start = 0.5 * d
    canvas.fill(
        [
            polygon(
                start,
                HORIZON - 0.012,
                start + 0.1,
                HORIZON - 0.055,
                start + 0.42,
                HORIZON - 0.06,
                start + 0.5,
                HORIZON - 0.012,
            )
        ],
        wheat,
    )
    canvas.fill([box(-0.02, HORIZON - 0.015, 1.02, HORIZON + 0.02)], snowy((136, 168, 84), light))
    barn = 0.12 + 0.7 * ((d + 0.45) % 1.0)
    canvas.fill([box(barn - 0.05, HORIZON - 0.09, barn + 0.05, HORIZON - 0.01)], (142, 84, 70))
    canvas.fill(
        [
            polygon(
                barn - 0.062, HORIZON - 0.085, barn, HORIZON - 0.14, barn + 0.062, HORIZON - 0.085
            )
        ],
        snowy((104, 88, 86), light),
    )
    canvas.fill(
        [box(barn - 0.016, HORIZON - 0.055, barn + 0.016, HORIZON - 0.01)],
        LIT if light.lamps else (84, 54, 46),
        glows=light.lamps,
    )
    posts = [box(x, HORIZON - 0.03, x + 0.008, HORIZON + 0.02) for x in np.arange(0.01, 1, 0.09)]
    canvas.fill([*posts], (130, 108, 84))
    canvas.fill(
        [
            box(-0.02, HORIZON - 0.018, 1.02, HORIZON - 0.011),
            box(-0.02, HORIZON, 1.02, HORIZON + 0.007),
        ],
        (130, 108, 84),
    )

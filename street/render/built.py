"""Settings made of walls: town, market, factory."""

from __future__ import annotations

import numpy as np

from aiflow.street.render.canvas import Canvas, Points, Rgb
from aiflow.street.render.ground import HORIZON
from aiflow.street.render.light import Light, mix, scaled
from aiflow.street.render.shapes import box, disc, ellipse, polygon
from aiflow.street.render.skyline import LIT, paint_windows, snowy


def paint_town(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """A row of houses."""
    walls: tuple[Rgb, ...] = (
        (214, 196, 170),
        (188, 150, 128),
        (200, 204, 200),
        (222, 206, 150),
        (176, 168, 176),
    )
    roofs: tuple[Rgb, ...] = ((150, 86, 70), (96, 84, 88), (128, 74, 58))
    windows: list[Points] = []
    x = -0.06 + 0.05 * float(rng.random())
    while x < 1.02:
        a, b, c, d = rng.random(4).tolist()
        width, top = 0.11 + 0.05 * a, HORIZON - 0.13 - 0.09 * b
        canvas.fill([box(x, top, x + width, HORIZON + 0.02)], walls[int(c * len(walls))])
        roof = polygon(x - 0.008, top, x + width / 2, top - 0.055, x + width + 0.008, top)
        canvas.fill([roof], snowy(roofs[int(d * len(roofs))], light))
        columns = 3 if width > 0.135 else 2
        pitch = width / columns
        rows = np.arange(top + 0.022, HORIZON - 0.055, 0.05).tolist()
        windows += [
            box(x + (i + 0.28) * pitch, y, x + (i + 0.72) * pitch, y + 0.03)
            for i in range(columns) for y in rows
        ]  # fmt: skip
        door = box(x + 0.42 * width, HORIZON - 0.045, x + 0.58 * width, HORIZON + 0.012)
        canvas.fill([door], (98, 70, 56))
        x += width + 0.004
    paint_windows(canvas, light, windows, (110, 128, 142), rng)


def paint_market(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """A church with its tower, and stalls."""
    a, b, c = rng.random(3).tolist()
    church = 0.2 + 0.6 * a
    stone: Rgb = (196, 184, 166)
    roof = snowy((122, 84, 74), light)
    canvas.fill([box(church - 0.16, HORIZON - 0.15, church + 0.16, HORIZON)], scaled(stone, 0.94))
    canvas.fill(
        [
            polygon(
                church - 0.17,
                HORIZON - 0.15,
                church - 0.12,
                HORIZON - 0.21,
                church + 0.12,
                HORIZON - 0.21,
                church + 0.17,
                HORIZON - 0.15,
            )
        ],
        roof,
    )
    canvas.fill([box(church - 0.035, 0.14, church + 0.035, HORIZON)], stone)
    canvas.fill([polygon(church - 0.043, 0.14, church, 0.03, church + 0.043, 0.14)], roof)
    canvas.fill([disc(church, 0.175, 0.018)], (240, 236, 220), glows=light.lamps)
    arches = [
        ellipse(church + d, HORIZON - 0.1, 0.013, 0.03, 10) for d in (-0.125, -0.08, 0.08, 0.125)
    ]
    canvas.fill(arches, LIT if light.lamps else (92, 100, 112), glows=light.lamps)
    cloths: tuple[Rgb, ...] = ((188, 96, 88), (96, 138, 150), (176, 150, 88), (120, 146, 104))
    for i in range(7):
        x = -0.06 + 0.16 * i + 0.05 * b
        cloth = cloths[(i + int(4 * c)) % 4]
        canvas.fill([box(x + 0.008, HORIZON - 0.08, x + 0.122, HORIZON + 0.015)], (112, 92, 78))
        canvas.fill([box(x + 0.004, HORIZON - 0.03, x + 0.126, HORIZON + 0.018)], (150, 122, 92))
        awning = polygon(
            x - 0.006,
            HORIZON - 0.07,
            x + 0.136,
            HORIZON - 0.07,
            x + 0.116,
            HORIZON - 0.115,
            x + 0.014,
            HORIZON - 0.115,
        )
        canvas.fill([awning], snowy((230, 222, 208), light, 0.5))
        stripes = [
            polygon(
                x + u,
                HORIZON - 0.07,
                x + u + 0.024,
                HORIZON - 0.07,
                x + 0.012 + 0.85 * u + 0.02,
                HORIZON - 0.115,
                x + 0.012 + 0.85 * u,
                HORIZON - 0.115,
            )
            for u in (0.0, 0.05, 0.1)
        ]
        canvas.fill(stripes, snowy(cloth, light, 0.4))


def paint_factory(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """Saw-tooth halls, chimneys with smoke, a tank."""
    a, b, c = rng.random(3).tolist()
    wall: Rgb = (140, 122, 114)
    base = HORIZON - 0.12
    for i in range(3):
        x = (0.1 + 0.3 * i + 0.2 * a) % 0.98
        top = 0.07 + 0.05 * ((b + 0.37 * i) % 1.0)
        canvas.fill(
            [polygon(x - 0.022, base, x + 0.022, base, x + 0.015, top, x - 0.015, top)],
            (150, 110, 98),
        )
        canvas.fill([box(x - 0.0165, top + 0.014, x + 0.0165, top + 0.03)], (214, 208, 200))
        for k in range(3):
            smoke = ellipse(
                x + 0.02 + 0.045 * k,
                top - 0.018 - 0.014 * k,
                0.026 + 0.012 * k,
                0.015 + 0.005 * k,
                12,
            )
            canvas.blend([smoke], mix(light.hour.cover, (120, 118, 118), 0.5), 0.7)
    teeth = [
        polygon(x, base + 0.002, x, base - 0.055, x + 0.11, base + 0.002)
        for x in np.arange(-0.05 - 0.1 * c, 1.05, 0.11)
    ]
    canvas.fill(teeth, snowy(scaled(wall, 0.82), light, 0.6))
    canvas.fill([box(-0.02, base, 1.02, HORIZON + 0.02)], wall)
    panes: list[Points] = [
        box(x, y, x + 0.034, y + 0.026)
        for x in np.arange(0.015, 1, 0.05)
        for y in (base + 0.022, base + 0.058)
    ]
    paint_windows(canvas, light, panes, (92, 104, 112), rng)
    tank = 0.15 + 0.7 * ((b + 0.5) % 1.0)
    canvas.fill([box(tank - 0.07, HORIZON - 0.095, tank + 0.07, HORIZON + 0.012)], (176, 180, 182))
    canvas.fill([ellipse(tank, HORIZON - 0.095, 0.07, 0.018)], snowy((196, 200, 202), light))

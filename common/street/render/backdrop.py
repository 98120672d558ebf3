"""What stands behind the street: six settings, each with its own skyline."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aiflow.common.street.render.canvas import Canvas, Points, Rgb
from aiflow.common.street.render.ground import HORIZON
from aiflow.common.street.render.light import Light, mix, scaled
from aiflow.common.street.render.shapes import box, disc, ellipse, limb, polygon

_LIT: Rgb = (255, 214, 128)


def paint_backdrop(
    canvas: Canvas, setting: str, light: Light, rng: np.random.Generator
) -> None:
    """Paint the setting from the skyline down to the ground."""
    canvas.air = light.backdrop
    _PAINTERS[setting](canvas, light, rng)


def _snowy(colour: Rgb, light: Light, amount: float = 0.75) -> Rgb:
    return mix(colour, (240, 244, 250), amount) if light.weather == "snow" else colour


def _windows(
    canvas: Canvas, light: Light, windows: list[Points], lit: np.ndarray, dark: Rgb
) -> None:
    shining = [w for w, p in zip(windows, lit.tolist(), strict=True) if light.lamps and p < 0.55]
    others = [w for w, p in zip(windows, lit.tolist(), strict=True) if not (light.lamps and p < 0.55)]
    if others:
        canvas.fill(others, dark)
    if shining:
        canvas.fill(shining, _LIT, glows=True)


def _town(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    walls: tuple[Rgb, ...] = ((214, 196, 170), (188, 150, 128), (200, 204, 200), (222, 206, 150), (176, 168, 176))
    roofs: tuple[Rgb, ...] = ((150, 86, 70), (96, 84, 88), (128, 74, 58))
    windows: list[Points] = []
    x = -0.06 + 0.05 * float(rng.random())
    while x < 1.02:
        a, b, c, d = rng.random(4).tolist()
        width, top = 0.11 + 0.05 * a, HORIZON - 0.13 - 0.09 * b
        canvas.fill([box(x, top, x + width, HORIZON + 0.02)], walls[int(c * len(walls))])
        roof = polygon(x - 0.008, top, x + width / 2, top - 0.055, x + width + 0.008, top)
        canvas.fill([roof], _snowy(roofs[int(d * len(roofs))], light))
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
    _windows(canvas, light, windows, rng.random(len(windows)), (110, 128, 142))


def _tree(canvas: Canvas, x: float, size: float, leaf: Rgb, foot: float) -> None:
    canvas.fill([box(x - 0.012 * size, foot - 0.1 * size, x + 0.012 * size, foot)], (104, 78, 56))
    for dx, dy, r in ((-0.045, 0.12, 0.055), (0.045, 0.13, 0.055), (0.0, 0.175, 0.066)):
        canvas.fill([disc(x + dx * size, foot - dy * size, r * size)], leaf)


def _park(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    hedge = _snowy((76, 128, 66), light, 0.5)
    canvas.fill([box(-0.02, HORIZON - 0.065, 1.02, HORIZON + 0.02)], hedge)
    bumps = [ellipse(x, HORIZON - 0.065, 0.085, 0.03) for x in np.arange(-0.02, 1.1, 0.17)]
    canvas.fill(bumps, hedge)
    pond = 0.2 + 0.6 * float(rng.random())
    canvas.fill([ellipse(pond, HORIZON + 0.004, 0.15, 0.016, 20)], (120, 172, 204))
    leaves: tuple[Rgb, ...] = ((66, 140, 62), (88, 158, 66), (58, 122, 74), (112, 160, 70))
    for i, (a, b, c) in enumerate(rng.random((6, 3)).tolist()):
        leaf = _snowy(leaves[int(c * len(leaves))], light, 0.55)
        _tree(canvas, (i + 0.2 + 0.6 * a) / 6, 0.9 + 0.4 * b, leaf, HORIZON + 0.015)


def _harbour(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
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
        _ship(canvas, light, x, 0.9 + 0.4 * float(rng.random()), i == 0)
    bollards = [box(x, HORIZON - 0.004, x + 0.016, HORIZON + 0.022) for x in np.arange(0.04, 1, 0.16)]
    canvas.fill(bollards, (60, 62, 66))


def _crane(canvas: Canvas, x: float, flip: int) -> None:
    foot, top = HORIZON - 0.02, 0.1
    beams = (
        limb(x - 0.03, foot, x, top + 0.06, 0.009), limb(x + 0.03, foot, x, top + 0.06, 0.009),
        limb(x, top + 0.1, x, top, 0.01), limb(x - flip * 0.06, top + 0.05, x + flip * 0.17, top + 0.02, 0.009),
        limb(x, top, x + flip * 0.17, top + 0.02, 0.004), limb(x + flip * 0.15, top + 0.02, x + flip * 0.15, top + 0.12, 0.003),
    )  # fmt: skip
    for beam in beams:
        canvas.fill([beam], (176, 120, 84))


def _ship(canvas: Canvas, light: Light, x: float, size: float, sails: bool) -> None:
    y = HORIZON - 0.045
    s = size
    hull = polygon(x - 0.1 * s, y - 0.03 * s, x + 0.11 * s, y - 0.03 * s, x + 0.085 * s, y + 0.012, x - 0.085 * s, y + 0.012)
    if sails:
        canvas.fill([limb(x, y - 0.03 * s, x, y - 0.2 * s, 0.005)], (92, 74, 60))
        canvas.fill([polygon(x + 0.006, y - 0.19 * s, x + 0.075 * s, y - 0.045 * s, x + 0.006, y - 0.045 * s)], (236, 230, 214))
        canvas.fill([polygon(x - 0.006, y - 0.17 * s, x - 0.06 * s, y - 0.045 * s, x - 0.006, y - 0.045 * s)], (214, 204, 186))
    else:
        canvas.fill([box(x - 0.05 * s, y - 0.075 * s, x + 0.03 * s, y - 0.03 * s)], (226, 226, 222))
        canvas.fill([box(x - 0.01 * s, y - 0.115 * s, x + 0.015 * s, y - 0.075 * s)], (150, 84, 74))
        holes = [box(x + d * s, y - 0.062 * s, x + (d + 0.014) * s, y - 0.046 * s) for d in (-0.042, -0.018, 0.006)]
        canvas.fill(holes, _LIT if light.lamps else (96, 110, 124), glows=light.lamps)
    canvas.fill([hull], (92, 84, 92))


def _market(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    a, b, c = rng.random(3).tolist()
    church = 0.2 + 0.6 * a
    stone: Rgb = (196, 184, 166)
    roof = _snowy((122, 84, 74), light)
    canvas.fill([box(church - 0.16, HORIZON - 0.15, church + 0.16, HORIZON)], scaled(stone, 0.94))
    canvas.fill([polygon(church - 0.17, HORIZON - 0.15, church - 0.12, HORIZON - 0.21, church + 0.12, HORIZON - 0.21, church + 0.17, HORIZON - 0.15)], roof)
    canvas.fill([box(church - 0.035, 0.14, church + 0.035, HORIZON)], stone)
    canvas.fill([polygon(church - 0.043, 0.14, church, 0.03, church + 0.043, 0.14)], roof)
    canvas.fill([disc(church, 0.175, 0.018)], (240, 236, 220), glows=light.lamps)
    arches = [ellipse(church + d, HORIZON - 0.1, 0.013, 0.03, 10) for d in (-0.125, -0.08, 0.08, 0.125)]
    canvas.fill(arches, _LIT if light.lamps else (92, 100, 112), glows=light.lamps)
    cloths: tuple[Rgb, ...] = ((188, 96, 88), (96, 138, 150), (176, 150, 88), (120, 146, 104))
    for i in range(7):
        x = -0.06 + 0.16 * i + 0.05 * b
        cloth = cloths[(i + int(4 * c)) % 4]
        canvas.fill([box(x + 0.008, HORIZON - 0.08, x + 0.122, HORIZON + 0.015)], (112, 92, 78))
        canvas.fill([box(x + 0.004, HORIZON - 0.03, x + 0.126, HORIZON + 0.018)], (150, 122, 92))
        awning = polygon(x - 0.006, HORIZON - 0.07, x + 0.136, HORIZON - 0.07, x + 0.116, HORIZON - 0.115, x + 0.014, HORIZON - 0.115)
        canvas.fill([awning], _snowy((230, 222, 208), light, 0.5))
        stripes = [
            polygon(x + u, HORIZON - 0.07, x + u + 0.024, HORIZON - 0.07, x + 0.012 + 0.85 * u + 0.02, HORIZON - 0.115, x + 0.012 + 0.85 * u, HORIZON - 0.115)
            for u in (0.0, 0.05, 0.1)
        ]
        canvas.fill(stripes, _snowy(cloth, light, 0.4))


def _countryside(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
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
        canvas.fill([points], _snowy(colour, light, 0.7))
    wheat = _snowy((222, 196, 104), light, 0.8)
    start = 0.5 * d
    canvas.fill([polygon(start, HORIZON - 0.012, start + 0.1, HORIZON - 0.055, start + 0.42, HORIZON - 0.06, start + 0.5, HORIZON - 0.012)], wheat)
    canvas.fill([box(-0.02, HORIZON - 0.015, 1.02, HORIZON + 0.02)], _snowy((136, 168, 84), light))
    barn = 0.12 + 0.7 * ((d + 0.45) % 1.0)
    canvas.fill([box(barn - 0.05, HORIZON - 0.09, barn + 0.05, HORIZON - 0.01)], (142, 84, 70))
    canvas.fill([polygon(barn - 0.062, HORIZON - 0.085, barn, HORIZON - 0.14, barn + 0.062, HORIZON - 0.085)], _snowy((104, 88, 86), light))
    canvas.fill([box(barn - 0.016, HORIZON - 0.055, barn + 0.016, HORIZON - 0.01)], _LIT if light.lamps else (84, 54, 46), glows=light.lamps)
    posts = [box(x, HORIZON - 0.03, x + 0.008, HORIZON + 0.02) for x in np.arange(0.01, 1, 0.09)]
    canvas.fill([*posts], (130, 108, 84))
    canvas.fill([box(-0.02, HORIZON - 0.018, 1.02, HORIZON - 0.011), box(-0.02, HORIZON, 1.02, HORIZON + 0.007)], (130, 108, 84))


def _factory(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    a, b, c = rng.random(3).tolist()
    wall: Rgb = (140, 122, 114)
    base = HORIZON - 0.12
    for i in range(3):
        x = (0.1 + 0.3 * i + 0.2 * a) % 0.98
        top = 0.07 + 0.05 * ((b + 0.37 * i) % 1.0)
        canvas.fill([polygon(x - 0.022, base, x + 0.022, base, x + 0.015, top, x - 0.015, top)], (150, 110, 98))
        canvas.fill([box(x - 0.0165, top + 0.014, x + 0.0165, top + 0.03)], (214, 208, 200))
        for k in range(3):
            smoke = ellipse(x + 0.02 + 0.045 * k, top - 0.018 - 0.014 * k, 0.026 + 0.012 * k, 0.015 + 0.005 * k, 12)
            canvas.blend([smoke], mix(light.hour.cover, (120, 118, 118), 0.5), 0.7)
    teeth = [
        polygon(x, base + 0.002, x, base - 0.055, x + 0.11, base + 0.002) for x in np.arange(-0.05 - 0.1 * c, 1.05, 0.11)
    ]
    canvas.fill(teeth, _snowy(scaled(wall, 0.82), light, 0.6))
    canvas.fill([box(-0.02, base, 1.02, HORIZON + 0.02)], wall)
    panes: list[Points] = [
        box(x, y, x + 0.034, y + 0.026) for x in np.arange(0.015, 1, 0.05) for y in (base + 0.022, base + 0.058)
    ]
    _windows(canvas, light, panes, rng.random(len(panes)), (92, 104, 112))
    tank = 0.15 + 0.7 * ((b + 0.5) % 1.0)
    canvas.fill([box(tank - 0.07, HORIZON - 0.095, tank + 0.07, HORIZON + 0.012)], (176, 180, 182))
    canvas.fill([ellipse(tank, HORIZON - 0.095, 0.07, 0.018)], _snowy((196, 200, 202), light))


_PAINTERS: Mapping[str, Callable[[Canvas, Light, np.random.Generator], None]] = {
    "town": _town,
    "park": _park,
    "harbour": _harbour,
    "market": _market,
    "countryside": _countryside,
    "factory": _factory,
}

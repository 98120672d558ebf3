"""Paints the things of a scene: groups, shadows, lights, dust."""

from __future__ import annotations

import numpy as np

from aiflow.street.layout import GROUND, WIDTHS, member_offsets, member_scale
from aiflow.street.pose import Placement
from aiflow.street.render.canvas import Canvas, Points, Rgb
from aiflow.street.render.figures import Looks, looks
from aiflow.street.render.light import Light, mix, scaled
from aiflow.street.render.shapes import ellipse, polygon
from aiflow.street.scene import COLUMNS, Thing

COLOURS: dict[str, Rgb] = {
    "red": (216, 34, 38),
    "orange": (250, 132, 12),
    "yellow": (252, 222, 36),
    "green": (44, 164, 68),
    "blue": (32, 92, 226),
    "purple": (150, 52, 190),
    "white": (248, 248, 248),
    "black": (30, 30, 34),
}
_PAINTS: dict[str, Rgb] = {
    "glass": (168, 204, 224),
    "tyre": (38, 38, 42),
    "metal": (158, 164, 172),
    "trousers": (58, 62, 84),
    "skin": (236, 190, 156),
    "hair": (66, 44, 34),
    "saddle": (120, 74, 44),
    "string": (120, 116, 110),
    "counter": (74, 56, 46),
    "wares": (214, 190, 150),
    "glow": (120, 240, 255),
}
_GLOWING = frozenset({"glow"})
_LOOKS = looks()
_WHITE: Rgb = (255, 255, 255)
_HEADLIGHT: Rgb = (255, 246, 200)


def paint_thing(
    canvas: Canvas, thing: Thing, placement: Placement, light: Light, ground: Rgb
) -> None:
    """Paint one thing or group; `ground` is the colour of the road under it."""
    canvas.air = light.lanes[thing.distance]
    scale = member_scale(thing.kind, thing.count, thing.distance) * placement.scale
    lane = member_scale(thing.kind, 1, thing.distance)
    y = GROUND[thing.distance] + placement.dy * lane
    paints = _paints(thing.colour, light)
    offsets = member_offsets(thing.kind, thing.count, thing.distance)
    for i, offset in enumerate(offsets):
        # Members stand a little behind and before one another.
        at = (placement.x / len(COLUMNS) + offset, y + (0.006 * (i % 2) - 0.003) * lane)
        phase = placement.phase + 0.37 * i
        _paint_member(canvas, thing, (*at, scale, placement.facing, phase), paints, ground)


def _paints(name: str, light: Light) -> dict[str, Rgb]:
    body = COLOURS[name]
    if name == "black":
        own: dict[str, Rgb] = {"dim": (64, 64, 70), "pale": (96, 96, 102), "line": (112, 114, 122)}
    else:
        own = {
            "dim": scaled(body, 0.76),
            "pale": mix(body, _WHITE, 0.6) if name != "white" else (190, 190, 194),
            "line": scaled(body, 0.42),
        }
    lit: dict[str, Rgb] = {"glass": (226, 214, 170)} if light.lamps else {}
    return {**_PAINTS, **lit, **own, "body": body}


def _paint_member(
    canvas: Canvas,
    thing: Thing,
    at: tuple[float, float, float, int, float],
    paints: dict[str, Rgb],
    ground: Rgb,
) -> None:
    x, y, scale, facing, phase = at
    kind = _LOOKS[thing.kind]
    half = WIDTHS[thing.kind] * scale / 2
    canvas.fill([ellipse(x, y, half * 1.04, 0.012 * scale, 16)], scaled(ground, 0.62))
    moving = thing.motion != "still"
    if moving:
        _paint_dust(canvas, (x, y, scale, facing), half, ground)
    shape = kind.figure(thing.motion, phase)
    pixels = canvas.pixels(shape.place(x, y, scale, facing))
    line = canvas.bgr(paints["line"])
    for paint, spans in shape.parts:
        polygons = [pixels[span] for span in spans]
        canvas.fill_pixels(polygons, canvas.bgr(paints[paint], glows=paint in _GLOWING))
        if paint == "body":
            canvas.outline_pixels(polygons, line)
    if kind.lamp:
        if moving:
            _paint_headlight(canvas, kind, (x, y, scale, facing))
        else:
            _paint_chocks(canvas, kind, (x, y, scale, facing))


def _local(x: float, y: float, scale: float, facing: int, points: Points) -> Points:
    """From a figure's hundredths to the picture."""
    factor = np.array([facing * scale / 100, -scale / 100], np.float32)
    return points * factor + np.array([x, y], np.float32)


def _paint_headlight(canvas: Canvas, kind: Looks, at: tuple[float, float, float, int]) -> None:
    if kind.lamp is None:
        return
    u, v = kind.lamp
    beam = polygon(u, v + 0.5, u + 8.5, v + 1.8, u + 8.5, 0.4, u, v - 0.5)
    canvas.blend([_local(*at, beam)], _HEADLIGHT, 0.62)
    canvas.fill([_local(*at, ellipse(u, v, 0.9, 1.1, 10))], (255, 252, 232), glows=True)


def _paint_chocks(canvas: Canvas, kind: Looks, at: tuple[float, float, float, int]) -> None:
    wedges = [
        _local(*at, polygon(x + side * 1.6, 0, x + side * 4.0, 0, x + side * 2.0, 1.9))
        for x, side in ((kind.wheels[0], -1), (kind.wheels[-1], 1))
    ]
    canvas.fill(wedges, (205, 180, 140))


def _paint_dust(
    canvas: Canvas, at: tuple[float, float, float, int], half: float, ground: Rgb
) -> None:
    """Puffs and streaks behind whatever moves."""
    back = -100 * half / at[2]
    puffs = [
        ellipse(back - 1.2, 1.2, 1.7, 1.2, 10),
        ellipse(back - 4.2, 1.7, 1.4, 1.1, 10),
        ellipse(back - 6.8, 1.3, 1.0, 0.8, 10),
    ]
    streaks = [
        polygon(back - d, h - 0.32, back - d, h + 0.32, back - d - length, h)
        for d, h, length in ((0.4, 4.4, 5.4), (1.4, 7.0, 4.2), (0.6, 9.4, 5.0))
    ]
    bright = sum(ground) > 3 * 165
    colour: Rgb = (112, 106, 100) if bright else (226, 220, 212)
    canvas.fill([_local(*at, shape) for shape in (*puffs, *streaks)], colour)

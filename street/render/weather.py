"""What falls from the sky, and what hangs in it."""

from __future__ import annotations

import numpy as np

from aiflow.street.layout import HEIGHT
from aiflow.street.render.canvas import Air, Canvas, Points, Rgb
from aiflow.street.render.light import Light, mix
from aiflow.street.render.shapes import circle, disc, ellipse


def paint_clouds(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """A few fair-weather clouds, or a lid of them; none in fog."""
    number = {"clear": 2, "cloudy": 9, "rain": 10, "snow": 8, "fog": 0}[light.weather]
    cover = light.hour.cover
    tint: Rgb = mix(cover, (255, 255, 255), 0.0 if light.hour.lamps else 0.45)
    if light.weather == "rain":
        tint = mix(cover, (40, 44, 54), 0.45)
    spots = rng.random((number, 4))
    for x, y, size, shade in spots.tolist():
        at = (1.1 * x - 0.05, 0.03 + 0.17 * y)
        radius = 0.028 + 0.034 * size
        puffs = [
            ellipse(
                at[0] + dx * radius, at[1] - dy * radius, s * radius * 1.7, s * radius * 0.8, 12
            )
            for dx, dy, s in ((-1.3, 0.0, 0.75), (0.0, 0.3, 1.0), (1.4, 0.0, 0.8))
        ]
        for puff in puffs:
            canvas.fill([puff], mix(tint, light.sky[1], 0.15 + 0.3 * shade), glows=True)


def paint_luminary(canvas: Canvas, time: str, light: Light, rng: np.random.Generator) -> None:
    """Sun, or moon and stars, when the sky is open."""
    if light.weather not in ("clear", "cloudy"):
        return
    jitter = float(rng.random())
    if time == "night":
        if light.weather == "clear":
            stars = rng.random((34, 1, 2)) * (1.0, 0.26)
            dots = (0.0022 * circle(6) + stars).astype(np.float32)
            canvas.fill(dots, (220, 224, 240), glows=True)
        x = 0.2 + 0.6 * jitter
        canvas.fill([disc(x, 0.07, 0.028, 18)], (240, 238, 220), glows=True)
        canvas.fill([disc(x + 0.012, 0.064, 0.024, 18)], light.sky[0], glows=True)
        return
    x, y, colour = {
        "dawn": (0.10 + 0.14 * jitter, 0.25, (255, 236, 190)),
        "day": (0.2 + 0.6 * jitter, 0.065, (255, 250, 214)),
        "dusk": (0.76 + 0.14 * jitter, 0.27, (255, 120, 50)),
    }[time]
    canvas.blend([disc(x, y, 0.06, 20)], colour, 0.35)
    canvas.fill([disc(x, y, 0.036, 20)], colour, glows=True)


def paint_falling(canvas: Canvas, light: Light, rng: np.random.Generator) -> None:
    """Rain drops or snow flakes in front of everything."""
    canvas.air = Air()
    if light.weather == "rain":
        at = rng.random((110, 2)) * (1.1, HEIGHT + 0.05)
        length = 0.028 + 0.03 * rng.random(110)
        tips = at + length[:, None] * (-0.28, 1.0)
        lines: Points = np.stack([at, tips], axis=1).astype(np.float32)
        tone = 214.0 if not light.lamps else 150.0
        canvas.strokes(lines, (tone - 14, tone - 4, tone + 8), glows=True)
    elif light.weather == "snow":
        spots = rng.random((130, 1, 2)) * (1.0, HEIGHT)
        radii = 0.0026 + 0.004 * rng.random((130, 1, 1))
        tone = 255.0 if not light.lamps else 208.0
        # Flakes of one call make holes where they overlap: that is rare and harmless.
        flakes = (circle(7) * radii + spots).astype(np.float32)
        canvas.fill(flakes, (tone, tone, tone), glows=True)

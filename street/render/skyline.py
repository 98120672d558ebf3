"""What the painters of skylines share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aiflow.street.render.canvas import Canvas, Points, Rgb
from aiflow.street.render.light import Light, mix

LIT: Rgb = (255, 214, 128)
"""A window with a light behind it."""
_LIT_SHARE = 0.55


def snowy(colour: Rgb, light: Light, amount: float = 0.75) -> Rgb:
    """The colour, under snow when it snows."""
    return mix(colour, (240, 244, 250), amount) if light.weather == "snow" else colour


def paint_windows(
    canvas: Canvas, light: Light, windows: Sequence[Points], dark: Rgb, rng: np.random.Generator
) -> None:
    """Paint windows; when the lamps are lit, so is about half of them."""
    chances = rng.random(len(windows)).tolist()
    shining = [light.lamps and chance < _LIT_SHARE for chance in chances]
    canvas.fill([w for w, lit in zip(windows, shining, strict=True) if not lit], dark)
    canvas.fill([w for w, lit in zip(windows, shining, strict=True) if lit], LIT, glows=True)

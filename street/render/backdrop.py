"""What stands behind the street: six settings, each with its own skyline."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from aiflow.street.render.built import paint_factory, paint_market, paint_town
from aiflow.street.render.canvas import Canvas
from aiflow.street.render.light import Light
from aiflow.street.render.outdoors import paint_countryside, paint_harbour, paint_park

_PAINTERS: Mapping[str, Callable[[Canvas, Light, np.random.Generator], None]] = {
    "town": paint_town,
    "park": paint_park,
    "harbour": paint_harbour,
    "market": paint_market,
    "countryside": paint_countryside,
    "factory": paint_factory,
}


def paint_backdrop(canvas: Canvas, setting: str, light: Light, rng: np.random.Generator) -> None:
    """Paint the setting from the skyline down to the ground."""
    canvas.air = light.backdrop
    _PAINTERS[setting](canvas, light, rng)

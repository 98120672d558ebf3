"""Paints a scene in a pose."""

from __future__ import annotations

import numpy as np

from aiflow.common.errors import ConfigError
from aiflow.street.pose import Placement, Pose
from aiflow.street.render.backdrop import paint_backdrop
from aiflow.street.render.canvas import Canvas, Image
from aiflow.street.render.ground import paint_ground, paint_lamps, surface_of
from aiflow.street.render.light import light_of
from aiflow.street.render.things import paint_thing
from aiflow.street.render.weather import paint_clouds, paint_falling, paint_luminary
from aiflow.street.scene import Scene, Thing

_SKY = 0.42  # the sky is painted down to here; the ground covers its foot


def render(scene: Scene, pose: Pose, size: tuple[int, int] = (640, 480)) -> Image:
    """The picture of a scene: uint8 (height, width, 3), BGR; `size` is (width, height).

    Raises ConfigError when the pose is another scene's.
    """
    if len(pose.placements) != len(scene.things):
        raise ConfigError(
            f"the pose places {len(pose.placements)} things, but the scene has {len(scene.things)}"
        )
    canvas = Canvas(*size)
    light = light_of(scene.time, scene.weather)
    surface = surface_of(scene.setting, scene.weather)
    canvas.gradient(0.0, _SKY, light.sky)
    paint_luminary(canvas, scene.time, light, _rng(pose.backdrop, 0))
    paint_clouds(canvas, light, _rng(pose.backdrop, 1))
    paint_backdrop(canvas, scene.setting, light, _rng(pose.backdrop, 2))
    paint_ground(canvas, scene.setting, surface, light, _rng(pose.backdrop, 3))
    paint_lamps(canvas, light, pose.lamps, surface)
    things = [*zip(scene.things, pose.placements, strict=True), *pose.extras]
    for distance in ("far", "near"):
        road = surface.far if distance == "far" else surface.near
        lane = sorted((t for t in things if t[0].distance == distance), key=_depth)
        for thing, placement in lane:
            paint_thing(canvas, thing, placement, light, road)
    paint_falling(canvas, light, _rng(pose.drops, 4))
    return canvas.image


def _rng(seed: int, purpose: int) -> np.random.Generator:
    """A stream of its own for each painter: the houses stay when the weather changes."""
    return np.random.Generator(np.random.Philox(key=purpose << 64 | seed))


def _depth(thing: tuple[Thing, Placement]) -> float:
    return thing[1].dy

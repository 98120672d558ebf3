"""How probable a scene is in a world, in closed form: what samples and moments are held against."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from aiflow.street.scene import MOTIONS, Scene, Thing
from aiflow.street.world import World

Log2Probability = Callable[[World, Scene], float]


@pytest.fixture(scope="session")
def log2_probability() -> Log2Probability:
    """log2 of the probability that `World.sample` draws a scene; -inf when it never does."""
    return _log2_scene


def _log2_scene(world: World, scene: Scene) -> float:
    number = len(scene.things)
    if number >= len(world.numbers):
        return -math.inf
    bits = _log2(world.numbers[number]) - math.log2(math.comb(len(world.cells()), number))
    bits += _log2(dict(world.times).get(scene.time, 0.0))
    bits += _log2(dict(world.weathers).get(scene.weather, 0.0))
    bits += _log2(dict(world.settings).get(scene.setting, 0.0))
    return bits + sum(_log2_thing(world, thing) for thing in scene.things)


def _log2_thing(world: World, thing: Thing) -> float:
    if (thing.distance, thing.column) not in world.cells():
        return -math.inf
    for kind in world.kinds:
        colours = world.colours_of(kind.name)
        if kind.name == thing.kind and thing.colour in colours:
            if not 1 <= thing.count <= len(kind.counts):
                return -math.inf
            motion = kind.motions[MOTIONS.index(thing.motion)]
            bits = _log2(motion) + _log2(kind.counts[thing.count - 1])
            return bits - math.log2(len(world.kinds) * len(colours))
    return -math.inf


def _log2(probability: float) -> float:
    return math.log2(probability) if probability > 0 else -math.inf

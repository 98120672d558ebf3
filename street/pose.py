"""How a scene happens to look: everything in the picture that is not a fact."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from aiflow.street.layout import SPACING_COLUMNS, member_offsets
from aiflow.street.scene import COLUMNS, DISTANCES, Scene, Thing
from aiflow.street.world import World, street

_MARGIN = 0.05
"""Centres keep this far (columns) from a cell's edge: nearer, no eye could tell the cell."""
_EXTRA_PROBABILITY = 0.25


@dataclass(frozen=True, slots=True)
class Placement:
    """How one thing stands."""

    x: float
    """Centre in columns: 0..3 is inside the picture."""
    dy: float = 0.0
    """Shift down, in picture widths."""
    scale: float = 1.0
    facing: int = 1
    """-1: looks left, 1: looks right; moving things look where they go."""
    phase: float = 0.0
    """Walking cycle, 0..1."""


@dataclass(frozen=True, slots=True)
class Pose:
    """The nuisance of one picture."""

    placements: tuple[Placement, ...]
    """In the order of the scene's things."""
    extras: tuple[tuple[Thing, Placement], ...] = ()
    """Things whose centre lies outside the picture: seen in part, not in the truth."""
    backdrop: int = 0
    """Seed of houses, trees and clouds."""
    drops: int = 0
    """Seed of the rain drops and snow flakes in the air."""
    lamps: tuple[float, ...] = (0.2, 0.55, 0.9)
    """x of the street lamps, in picture widths."""


def sample(scene: Scene, rng: np.random.Generator, world: World | None = None) -> Pose:
    """Draw a pose. `world` (the built-in street by default) supplies the things outside."""
    world = world or street()
    xs = _sample_positions(scene, rng)
    placements = tuple(
        _sample_placement(thing, x, rng) for thing, x in zip(scene.things, xs, strict=True)
    )
    extras: tuple[tuple[Thing, Placement], ...] = ()
    if rng.random() < _EXTRA_PROBABILITY:
        extras = _sample_extra(scene, xs, rng, world)
    lamps = 0.08 + 0.18 * float(rng.random()) + 0.31 * np.arange(3) + rng.uniform(-0.03, 0.03, 3)
    backdrop, drops = (int(seed) for seed in rng.integers(2**63, size=2))
    return Pose(placements, extras, backdrop, drops, tuple(float(x) for x in lamps))


def _sample_positions(scene: Scene, rng: np.random.Generator) -> list[float]:
    """Centres uniform in their cells, given that neighbours of a lane keep their distance."""
    lanes = [[i for i, t in enumerate(scene.things) if t.distance == d] for d in DISTANCES]
    xs = [COLUMNS.index(thing.column) + 0.5 for thing in scene.things]
    for lane in lanes:
        for _ in range(100):
            for i in lane:
                low, high = _range(scene.things[i])
                xs[i] = low + (high - low) * float(rng.random())
            if all(xs[j] - xs[i] >= SPACING_COLUMNS for i, j in pairwise(lane)):
                break
        else:
            for i in lane:
                xs[i] = COLUMNS.index(scene.things[i].column) + 0.5
    return xs


def _range(thing: Thing) -> tuple[float, float]:
    """Where in its column a thing's centre may be: members of a group stay in the picture."""
    column = COLUMNS.index(thing.column)
    reach = len(COLUMNS) * member_offsets(thing.kind, thing.count, thing.distance)[-1]
    low = max(column + _MARGIN, reach + _MARGIN)
    high = min(column + 1 - _MARGIN, len(COLUMNS) - reach - _MARGIN)
    return low, high


def _sample_placement(thing: Thing, x: float, rng: np.random.Generator) -> Placement:
    dy, scale, side, phase = (float(v) for v in rng.random(4))
    facing = {"left": -1, "right": 1}.get(thing.motion, 1 if side < 0.5 else -1)
    return Placement(x, 0.016 * (dy - 0.5), 0.93 + 0.14 * scale, facing, phase)


def _sample_extra(
    scene: Scene, xs: list[float], rng: np.random.Generator, world: World
) -> tuple[tuple[Thing, Placement], ...]:
    distance = world.distances[int(rng.integers(len(world.distances)))]
    on_left = rng.random() < 0.5
    outside = float(rng.uniform(0.1, 0.5))
    x, column = (-outside, COLUMNS[0]) if on_left else (len(COLUMNS) + outside, COLUMNS[-1])
    lane = [v for t, v in zip(scene.things, xs, strict=True) if t.distance == distance]
    if any(abs(v - x) < SPACING_COLUMNS for v in lane):
        return ()
    thing = world.sample_thing(rng, (distance, column))
    return ((thing, _sample_placement(thing, x, rng)),)

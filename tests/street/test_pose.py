from __future__ import annotations

from itertools import pairwise

import pytest

from aiflow.street import pose, splits
from aiflow.street.layout import SPACING_COLUMNS, cell_at, member_offsets
from aiflow.street.scene import COLUMNS, DISTANCES, Scene
from aiflow.street.world import street

WORLD = street()


def poses(count: int = 1500) -> list[tuple[Scene, pose.Pose]]:
    drawn = []
    for index in range(count):
        rng = splits.rng("test", 5, index)
        scene = WORLD.sample(rng)
        drawn.append((scene, pose.sample(scene, rng, WORLD)))
    return drawn


def test_things_stand_in_their_cells_and_extras_in_none() -> None:
    for scene, drawn in poses():
        for thing, placement in zip(scene.things, drawn.placements, strict=True):
            assert cell_at(placement.x, thing.distance) == (thing.distance, thing.column)
        assert all(cell_at(p.x, t.distance) is None for t, p in drawn.extras)


def test_neighbours_of_a_lane_keep_their_distance() -> None:
    for scene, drawn in poses():
        every = [*zip(scene.things, drawn.placements, strict=True), *drawn.extras]
        for distance in DISTANCES:
            xs = sorted(p.x for t, p in every if t.distance == distance)
            assert all(b - a >= SPACING_COLUMNS for a, b in pairwise(xs))


def test_every_member_of_a_group_has_its_centre_in_the_picture() -> None:
    for scene, drawn in poses():
        for thing, placement in zip(scene.things, drawn.placements, strict=True):
            for offset in member_offsets(thing.kind, thing.count, thing.distance):
                assert 0 <= placement.x / len(COLUMNS) + offset <= 1


def test_moving_things_look_where_they_go() -> None:
    for scene, drawn in poses(300):
        for thing, placement in zip(scene.things, drawn.placements, strict=True):
            if thing.motion != "still":
                assert placement.facing == (1 if thing.motion == "right" else -1)


def test_about_a_fifth_of_the_pictures_has_something_half_outside() -> None:
    share = sum(bool(drawn.extras) for _, drawn in poses()) / 1500
    assert share == pytest.approx(0.2, abs=0.06)

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.common.errors import ConfigError
from aiflow.street import splits
from aiflow.street.acts import ACT_S, sample_act, sample_fixture
from aiflow.street.animation import Moment, Street
from aiflow.street.layout import SPACING_COLUMNS
from aiflow.street.scene import COLUMNS, DISTANCES, Thing
from aiflow.street.world import street

if TYPE_CHECKING:
    from tests.street.conftest import Log2Probability

WORLD = street()
TIMES = [0.5 * i for i in range(500)]


def moments(seed: int, times: list[float]) -> list[Moment]:
    scene = Street(seed)
    return [scene.at(time_s) for time_s in times]


@pytest.mark.parametrize("seed", [0, 7])
def test_scenes_stay_inside_the_world(seed: int, log2_probability: Log2Probability) -> None:
    for moment in moments(seed, TIMES):
        assert log2_probability(WORLD, moment.scene) > -math.inf


@pytest.mark.parametrize("seed", [1, 7])
def test_things_keep_their_distance_and_truth_is_what_is_inside(seed: int) -> None:
    for moment in moments(seed, TIMES):
        scene, pose = moment.scene, moment.pose
        every = [*zip(scene.things, pose.placements, strict=True), *pose.extras]
        for distance in DISTANCES:
            xs = sorted(p.x for t, p in every if t.distance == distance)
            assert all(b - a >= SPACING_COLUMNS - 1e-6 for a, b in pairwise(xs))
        for thing, placement in zip(scene.things, pose.placements, strict=True):
            assert COLUMNS[int(placement.x)] == thing.column
        assert all(not 0 <= p.x < len(COLUMNS) for _, p in pose.extras)


def test_things_move_smoothly_at_one_column_in_1_5_to_3_seconds() -> None:
    scene, step_s = Street(7), 0.1
    before: dict[tuple[str, str, str, int], float] = {}
    for i in range(600):
        moment = scene.at(i * step_s)
        things = [
            *zip(moment.scene.things, moment.pose.placements, strict=True),
            *moment.pose.extras,
        ]
        now = {_identity(t): p.x for t, p in things}
        for identity in set(now) & set(before):
            assert abs(now[identity] - before[identity]) <= step_s / 1.49 + 1e-6
        before = now


def _identity(thing: Thing) -> tuple[str, str, str, int]:
    return thing.distance, thing.kind, thing.colour, thing.count


def test_a_moment_does_not_depend_on_what_was_asked_before() -> None:
    backwards = Street(3)
    later = {t: backwards.at(t) for t in reversed(TIMES[::20])}
    assert later == {t: Street(3).at(t) for t in TIMES[::20]}


def test_it_is_alive_and_sometimes_still() -> None:
    sequence = moments(7, [0.5 * i for i in range(1400)])
    moves = [any(t.motion != "still" for t in moment.scene.things) for moment in sequence]
    assert 0.4 < np.mean(moves) < 0.9
    quiet = "".join("x" if moving else "." for moving in moves)
    assert "......" in quiet  # three seconds at least
    numbers = [len(moment.scene.things) for moment in sequence]
    assert set(numbers) >= {1, 2, 3, 4, 5}
    assert len({(m.scene.time, m.scene.weather) for m in sequence}) >= 6
    assert len({m.scene.setting for m in sequence}) == 1


def test_an_act_ends_in_time() -> None:
    for index in range(3000):
        rng = splits.rng("test", 11, index)
        fixture = sample_fixture(WORLD, "near", rng)
        for visit in sample_act(WORLD, "near", fixture, 3, rng):
            assert visit.arrives_s <= visit.leaves_s
            assert visit.leaves_s + abs(visit.end - visit.stop) / visit.speed < ACT_S


def test_frames_repeat_and_have_the_truth_of_the_moment() -> None:
    one, two = (Street(5).frame(12.5, (160, 120)) for _ in range(2))
    assert np.array_equal(one.image, two.image)
    assert one.scene == Street(5).scene(12.5)
    assert one.image.shape == (120, 160, 3)
    other = Street(6).frame(12.5, (160, 120))
    assert not np.array_equal(one.image, other.image)


def test_nothing_jumps_when_light_or_weather_change() -> None:
    scene = Street(7)
    changed = [
        t for t in TIMES[1:] if scene.scene(t).weather != scene.scene(t - 0.5).weather
        or scene.scene(t).time != scene.scene(t - 0.5).time
    ]  # fmt: skip
    assert len(changed) >= 3
    at = changed[0]
    steps = np.arange(at - 2.5, at + 2.5, 0.25)
    means = [scene.frame(float(t), (160, 120), "none").image.mean() for t in steps]
    assert np.abs(np.diff(means)).max() < 0.5 * (max(means) - min(means)) + 1


def test_a_still_street_makes_nearly_equal_frames() -> None:
    scene = Street(7)
    for t in TIMES:
        window = [scene.at(t + d) for d in (0.0, 0.5, 1.0)]
        quiet = all(m.scene == window[0].scene and not m.pose.extras for m in window) and all(
            thing.motion == "still" for thing in window[0].scene.things
        )
        if quiet and window[0].scene.weather in ("clear", "cloudy", "fog"):
            a, b = (scene.frame(t + d, (160, 120)).image.astype(float) for d in (0.0, 1.0))
            assert np.abs(a - b).mean() < 6
            return
    pytest.fail("the street was never quiet")


@pytest.mark.parametrize("time_s", [-0.5, math.nan, math.inf])
def test_times_before_the_beginning_are_refused(time_s: float) -> None:
    with pytest.raises(ConfigError):
        Street(0).at(time_s)

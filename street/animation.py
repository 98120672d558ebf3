"""A street that lives in time: a pure function of (seed, time), with random access.

Two lanes play their acts (see `acts`), out of step with each other; now and then nothing moves.
Light and weather change about once a minute. Nothing is simulated step by step, so any moment
costs the same, and the truth can be computed again anywhere from the seed and the time alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from aiflow.common.errors import ConfigError
from aiflow.street import splits
from aiflow.street.acts import (
    ACT_S,
    ACTS_OF_A_FIXTURE,
    Fixture,
    Visit,
    sample_act,
    sample_fixture,
)
from aiflow.street.layout import cell_at
from aiflow.street.pose import Placement, Pose
from aiflow.street.render import render
from aiflow.street.render.canvas import Image
from aiflow.street.scene import Scene, Thing
from aiflow.street.sensor import Condition, expose, sample_condition
from aiflow.street.world import World, street

_MOST = 5
_LEAD_S = {"near": 18.0, "far": 12.0}  # how long each lane has been playing at time 0
_AIR_S = 65.0  # mean time between changes of light or weather
_AIR_JITTER_S = 12.5
_DRIFT_S = 30.0  # the camera's condition is drawn this often, and drifts in between
_FADE_S = 1.5  # half the duration of a change


@dataclass(frozen=True, slots=True)
class Moment:
    """What is true at a time, and how it looks."""

    scene: Scene
    pose: Pose


@dataclass(frozen=True, slots=True)
class Frame:
    """What is true, and what the camera saw: uint8 (height, width, 3), BGR."""

    scene: Scene
    image: Image


class Street:
    """One street, chosen by its seed (0 <= seed < 2**56)."""

    def __init__(self, seed: int = 0, world: World | None = None) -> None:
        self._seed = seed
        self._world = world or street()
        rng = self._rng("place", 0)
        self._setting = self._world.sample(rng).setting
        self._first_hour = int(rng.integers(len(self._world.times)))
        lamps = 0.08 + 0.18 * float(rng.random()) + 0.31 * np.arange(3)
        self._lamps = tuple(float(x) for x in lamps)
        self._backdrop = int(rng.integers(2**63))
        # Only saves time: consecutive moments meet the same acts.
        self._visits = lru_cache(maxsize=32)(self._sample_visits)

    def at(self, time_s: float) -> Moment:
        """The moment at a time >= 0. Raises ConfigError for an earlier one."""
        return self._moment(time_s, time_s)

    def scene(self, time_s: float) -> Scene:
        """What is true at a time."""
        return self.at(time_s).scene

    def frame(
        self, time_s: float, size: tuple[int, int] = (640, 480), strength: str = "normal"
    ) -> Frame:
        """What a camera of some strength (see `sensor`) sees; `size` is (width, height)."""
        moment = self.at(time_s)
        image = render(moment.scene, moment.pose, size)
        change_s = self._nearest_change(time_s)
        away = abs(time_s - change_s) / _FADE_S
        if away < 1:
            # Half-way through a change both states are seen equally; the truth changes there.
            other = self._moment(time_s, change_s + (0.01 if time_s < change_s else -0.01))
            faded = render(other.scene, other.pose, size)
            image = cv2.addWeighted(image, 0.5 + 0.5 * away, faded, 0.5 - 0.5 * away, 0).astype(
                np.uint8, copy=False
            )
        noise = self._rng("noise", _ms(time_s))
        return Frame(moment.scene, expose(image, noise, strength, self._condition(time_s)))

    def _moment(self, time_s: float, state_s: float) -> Moment:
        """Things on the move as at `time_s`; light, weather and fixtures as at `state_s`."""
        if not 0 <= time_s < math.inf:
            raise ConfigError(f"the street begins at 0 s, so {time_s} s shows nothing")
        seen: list[tuple[Thing, Placement]] = []
        for distance, lead_s in _LEAD_S.items():
            fixture = self._fixture(distance, int((state_s + lead_s) / ACT_S))
            if fixture:
                seen.append((fixture.thing, fixture.placement))
            act, since_s = divmod(time_s + lead_s, ACT_S)
            for visit in self._visits(distance, int(act)):
                there = visit.at(since_s)
                if there:
                    seen.append(there)
        return self._compose(seen, state_s, time_s)

    def _compose(
        self, seen: list[tuple[Thing, Placement]], state_s: float, time_s: float
    ) -> Moment:
        inside: dict[Thing, Placement] = {}
        extras: list[tuple[Thing, Placement]] = []
        for thing, placement in seen:
            cell = cell_at(placement.x, thing.distance)
            if cell:
                inside[replace(thing, column=cell[1])] = placement
            else:
                extras.append((thing, placement))
        hour, weather = self._air(state_s)
        scene = Scene(hour, weather, self._setting, tuple(inside))
        pose = Pose(
            tuple(inside[thing] for thing in scene.things),
            tuple(extras),
            self._backdrop,
            int(self._rng("drops", _ms(time_s)).integers(2**63)),
            self._lamps,
        )
        return Moment(scene, pose)

    # The lanes

    def _fixture(self, distance: str, act: int) -> Fixture | None:
        rng = self._rng(f"fixture {distance}", act // ACTS_OF_A_FIXTURE)
        return sample_fixture(self._world, distance, rng)

    def _sample_visits(self, distance: str, act: int) -> tuple[Visit, ...]:
        fixture = self._fixture(distance, act)
        most = len(self._world.columns) - (fixture is not None)
        if distance == "far":
            most = min(most, _MOST - self._near_at_once(act) - (fixture is not None))
        return sample_act(self._world, distance, fixture, most, self._rng(distance, act))

    def _near_at_once(self, far_act: int) -> int:
        """The most things of the near lane that a far act may meet."""
        first_s = far_act * ACT_S - _LEAD_S["far"] + _LEAD_S["near"]
        acts = {max(0, math.floor(t / ACT_S)) for t in (first_s, first_s + ACT_S - 0.001)}
        return max(
            len(self._visits("near", act)) + (self._fixture("near", act) is not None)
            for act in acts
        )

    # Light and weather

    def _air(self, time_s: float) -> tuple[str, str]:
        index = int(time_s // _AIR_S)
        index += time_s >= self._change_s(index + 1)
        index -= time_s < self._change_s(index)
        # Hour and weather change in turn.
        hours = [name for name, _ in self._world.times]
        hour = hours[(self._first_hour + (index + 1) // 2) % len(hours)]
        return hour, self._world.sample(self._rng("weather", index // 2)).weather

    def _change_s(self, index: int) -> float:
        """When the air becomes state `index`; state 0 begins before time 0."""
        if index <= 0:
            return -math.inf
        jitter = float(self._rng("change", index).uniform(-1, 1))
        return index * _AIR_S + _AIR_JITTER_S * jitter

    def _nearest_change(self, time_s: float) -> float:
        """The change of air or fixtures that is nearest in time."""
        index = round(time_s / _AIR_S)
        times = [self._change_s(i) for i in (index - 1, index, index + 1)]
        period_s = ACT_S * ACTS_OF_A_FIXTURE
        times += [round((time_s + s) / period_s) * period_s - s for s in _LEAD_S.values()]
        return min((t for t in times if t > 0), key=lambda t: abs(t - time_s))

    def _condition(self, time_s: float) -> Condition:
        """The camera stands still; its exposure, focus and so on drift."""
        index, since_s = divmod(time_s, _DRIFT_S)
        first, now, then = (
            sample_condition(self._rng("camera", i)) for i in (0, int(index), int(index) + 1)
        )
        drifting = now.towards(then, since_s / _DRIFT_S)
        return replace(drifting, smear_chance=1.0, jpeg_chance=first.jpeg_chance)

    def _rng(self, stream: str, index: int) -> np.random.Generator:
        number = _STREAMS.index(stream) << 56 | index
        return splits.rng("animation", self._seed, number)


_STREAMS = (
    *("place", "weather", "change", "drops", "camera", "noise"),
    *("near", "far", "fixture near", "fixture far"),
)


def _ms(time_s: float) -> int:
    return round(time_s * 1000)

"""What happens in one lane: convoys that come in, stop, wait and leave, in closed form.

A lane's time is cut into acts. In each, a convoy enters from one side, its things stop at their
columns (or pass through), wait, and leave; at the end the lane is empty again. Positions are
closed formulas of time, so any moment can be computed on its own. A bench, kiosk or tent, which
cannot come or go, stands for several acts; while it does, convoys use the columns beside it.

Within a lane, things keep at least SPACING_COLUMNS apart and never share a column:

    moving    in line, _HEADWAY >= 1 column apart
    waiting   at different columns
    leaving   the next one starts only when it is _HEADWAY behind
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from aiflow.street.pose import Placement
from aiflow.street.scene import COLUMNS, Cell, Thing
from aiflow.street.world import World

ACT_S = 25.0
ACTS_OF_A_FIXTURE = 4
_HEADWAY = 1.05  # columns
_OUTSIDE = 1.0  # columns beyond the edge at which nothing of a thing is seen
_QUIET_S = 1.0  # nothing moves this long at either end of an act
_NUMBERS = (0.04, 0.18, 0.36, 0.42)
_FIXTURE_PROBABILITY = 0.4
_THROUGH_PROBABILITY = 0.25  # the convoy does not stop
_TURN_PROBABILITY = 0.2  # it leaves by the side it came from
_MEETING_PROBABILITY = 0.3  # two convoys come, one from each side
_STEPS_PER_COLUMN = 2.4


@dataclass(frozen=True, slots=True)
class Fixture:
    """A thing that stands still for several acts."""

    thing: Thing
    placement: Placement


@dataclass(frozen=True, slots=True)
class Visit:
    """One thing of a convoy. Positions are in columns, times in seconds since the act began."""

    thing: Thing
    start: float
    stop: float
    end: float
    speed: float
    enters_s: float
    leaves_s: float
    """When it starts from its stop; before it arrives there, it passes through."""
    dy: float
    scale: float

    @property
    def arrives_s(self) -> float:
        """When it reaches its stop."""
        return self.enters_s + abs(self.stop - self.start) / self.speed

    def at(self, time_s: float) -> tuple[Thing, Placement] | None:
        """The thing with its motion, and where it is; None while it is out of sight."""
        gone_s = self.leaves_s + abs(self.end - self.stop) / self.speed
        if not self.enters_s < time_s < gone_s:
            return None
        towards = np.sign(self.stop - self.start)
        if time_s < self.arrives_s:
            x, way = self.start + towards * self.speed * (time_s - self.enters_s), towards
        elif time_s > self.leaves_s:
            way = np.sign(self.end - self.stop)
            x = self.stop + way * self.speed * (time_s - self.leaves_s)
        else:
            return replace(self.thing, motion="still"), self._placement(self.stop, towards)
        motion = "right" if way > 0 else "left"
        return replace(self.thing, motion=motion), self._placement(float(x), way)

    def _placement(self, x: float, way: float) -> Placement:
        return Placement(x, self.dy, self.scale, int(way), (_STEPS_PER_COLUMN * x) % 1.0)


def sample_fixture(world: World, distance: str, rng: np.random.Generator) -> Fixture | None:
    """Perhaps a bench, kiosk or tent, in some column of the lane."""
    kinds = [kind for kind in world.kinds if not kind.moves]
    if not kinds or rng.random() >= _FIXTURE_PROBABILITY:
        return None
    column = int(rng.integers(len(COLUMNS)))
    thing = _sample_thing(world, (distance, COLUMNS[column]), rng, moves=False)
    if thing.count > 1:  # all of it must be seen
        column = 1
        thing = replace(thing, column=COLUMNS[column])
    x = column + 0.5 + float(rng.uniform(-0.04, 0.04))
    return Fixture(thing, Placement(x, *_stature(rng)))


def sample_act(
    world: World, distance: str, fixture: Fixture | None, most: int, rng: np.random.Generator
) -> tuple[Visit, ...]:
    """At most `most` things that come and go in a lane in which `fixture` stands."""
    segments = _segments(fixture, rng)
    columns = [column for segment in segments for column in segment.columns]
    edges = np.cumsum(_NUMBERS)
    number = int(np.searchsorted(edges / edges[-1], rng.random()))
    number = min(number, len(columns), most)
    chosen = {columns[int(i)] for i in rng.permutation(len(columns))[:number]}
    visits: list[Visit] = []
    for segment in segments:
        taken = [column for column in segment.columns if column in chosen]
        visits += _sample_convoy(world, distance, replace(segment, columns=tuple(taken)), rng)
    return tuple(visits)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Columns that a convoy uses, and how."""

    columns: tuple[int, ...]
    side: int
    """Where it comes from: -1 left, 1 right."""
    turns: bool
    """Whether it leaves on the same side."""


def _segments(fixture: Fixture | None, rng: np.random.Generator) -> list[_Segment]:
    every = tuple(range(len(COLUMNS)))
    if fixture is None:
        cut = int(rng.integers(1, len(every)))
        side = -1 if rng.random() < 0.5 else 1
        if rng.random() >= _MEETING_PROBABILITY:
            return [_Segment(every, side, turns=rng.random() < _TURN_PROBABILITY)]
        return [_Segment(every[:cut], -1, turns=True), _Segment(every[cut:], 1, turns=True)]
    taken = int(fixture.placement.x)
    sides = (_Segment(every[:taken], -1, turns=True), _Segment(every[taken + 1 :], 1, turns=True))
    return [segment for segment in sides if segment.columns]


def _sample_convoy(
    world: World, distance: str, segment: _Segment, rng: np.random.Generator
) -> tuple[Visit, ...]:
    through = not segment.turns and rng.random() < _THROUGH_PROBABILITY
    speed = float(rng.uniform(0.5, 0.67))
    # The deepest comes first; from the right that is the leftmost.
    stops = [column + 0.5 + float(rng.uniform(-0.1, 0.1)) for column in segment.columns]
    stops.sort(reverse=segment.side < 0)
    start = -_OUTSIDE if segment.side < 0 else len(COLUMNS) + _OUTSIDE
    end = start if segment.turns else len(COLUMNS) - start
    visits: list[Visit] = []
    enters_s = _QUIET_S + float(rng.uniform(0.0, 1.5))
    for stop in stops:
        thing = _sample_thing(world, (distance, COLUMNS[int(stop)]), rng, moves=True)
        visits.append(Visit(thing, start, stop, end, speed, enters_s, 0.0, *_stature(rng)))
        enters_s += (_HEADWAY + float(rng.uniform(0.0, 0.25))) / speed
    if through:
        return tuple(replace(v, leaves_s=v.arrives_s) for v in visits)
    return _with_departures(visits, rng, turns=segment.turns)


def _with_departures(
    visits: list[Visit], rng: np.random.Generator, *, turns: bool
) -> tuple[Visit, ...]:
    """Let the one nearest to the exit go first, as late as the act allows, or a little earlier."""
    if not visits:
        return ()
    queue = visits[::-1] if turns else visits
    delays = [0.0]
    for ahead, behind in pairwise(queue):
        gap = max(0.0, _HEADWAY - abs(ahead.stop - behind.stop)) / ahead.speed
        delays.append(delays[-1] + gap + float(rng.uniform(0.2, 1.2)))
    spans = [d + abs(v.end - v.stop) / v.speed for d, v in zip(delays, queue, strict=True)]
    latest_s = ACT_S - _QUIET_S - max(spans)
    arrived_s = max(visit.arrives_s for visit in visits)
    leave_s = latest_s - min(float(rng.uniform(0.0, 4.0)), 0.5 * max(0.0, latest_s - arrived_s))
    return tuple(replace(v, leaves_s=leave_s + d) for d, v in zip(delays, queue, strict=True))


def _sample_thing(world: World, cell: Cell, rng: np.random.Generator, *, moves: bool) -> Thing:
    while True:
        thing = world.sample_thing(rng, cell)
        if world.kind(thing.kind).moves is moves:
            return thing


def _stature(rng: np.random.Generator) -> tuple[float, float]:
    """dy and scale, as in `pose.sample`."""
    dy, scale = (float(v) for v in rng.random(2))
    return 0.016 * (dy - 0.5), 0.93 + 0.14 * scale

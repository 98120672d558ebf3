"""The strongest setting of each codec: screen a grid, caption what is promising, look closer.

    grid -> screen (few pictures: bytes, symbols kept) -> ladder (best of each size of message)
         -> score (more pictures: captions) -> look closer where quality begins to be equal

`kept` is the share of symbols that come out as without any loss. It costs no captions, and it is
only used to leave out settings that another one beats at no more bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from aiflow.bench.baselines.images import ImageWay
from aiflow.bench.baselines.way import Picture, Trip, Way, send
from aiflow.bench.judge import Answers, Judge, Scores

EQUAL: Final = 0.99
"""Share of the uncompressed CIDEr from which quality counts as equal."""
POOR: Final = 0.7
"""Below this share, going on to smaller messages shows nothing."""
CLOSE: Final = 0.975
"""From this share on a setting may yet prove equal on all scenes."""
SLACK: Final = 0.01
"""A setting may keep so much less than a cheaper one and still be looked at."""
RUNGS: Final = 4
"""Steps of the ladder in a doubling of bytes; twice as many when looking closer."""
MOST_CLOSER: Final = 8
MOST_CONTENDERS: Final = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Screened:
    """A setting after the first look."""

    way: Way
    bytes_mean: float
    kept: float


@dataclass(frozen=True, slots=True, eq=False)
class ScoredSetting:
    """A setting after its captions were scored."""

    way: Way
    bytes_mean: float
    bare_bytes_mean: float
    scores: Scores
    share: float
    """Of the uncompressed CIDEr on the same scenes."""

    @property
    def equal(self) -> bool:
        return self.share >= EQUAL


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What settings are compared on: pictures with their answers, and a judge."""

    pictures: Sequence[Picture]
    answers: Answers
    judge: Judge
    pool: ThreadPoolExecutor
    screened: int
    """How many of the pictures are used for the first look."""

    def uncompressed(self) -> Scores:
        symbols = np.stack([picture.symbols for picture in self.pictures])
        return self.judge.score(symbols, self.answers)

    def screen(self, ways: Sequence[Way]) -> list[Screened]:
        pictures = self.pictures[: self.screened]
        right = np.stack([picture.symbols for picture in pictures])
        return [
            Screened(way, float(trip.size_bytes.mean()), float((trip.symbols == right).mean()))
            for way, trip in zip(ways, send(ways, pictures, self.pool), strict=True)
        ]

    def score(self, way: Way, whole: float) -> ScoredSetting:
        (trip,) = send([way], self.pictures, self.pool)
        return scored(way, trip, self.judge.score(trip.symbols, self.answers), whole)


def scored(way: Way, trip: Trip, scores: Scores, whole: float) -> ScoredSetting:
    """Put together what is known of a setting."""
    return ScoredSetting(
        way,
        float(trip.size_bytes.mean()),
        float(trip.bare_bytes.mean()),
        scores,
        float(scores.cider.mean()) / max(whole, 1e-9),
    )


def search(ways: Sequence[Way], ground: Ground, whole: float, say: Say) -> list[ScoredSetting]:
    """Settings of one codec along its curve, by bytes; close together where it matters.

    `whole` is the mean CIDEr without any loss.
    """
    seen = ground.screen(ways)
    found: list[ScoredSetting] = []

    def look(one: Screened) -> ScoredSetting:
        found.append(_told(ground.score(one.way, whole), say))
        return found[-1]

    rungs = ladder(seen, RUNGS)
    for one in reversed(rungs):
        if look(one).share < POOR:
            break
    if not any(one.equal for one in found):
        # What seemed to keep all did not: go on upwards.
        dearer = [one for one in best_of_each_size(seen, RUNGS) if one not in rungs]
        top = rungs[-1].bytes_mean
        for one in [one for one in dearer if one.bytes_mean > top][:MOST_CLOSER]:
            if look(one).equal:
                break
    done = {one.way.setting for one in found}
    low, high = _edge(found)
    finer = seen + ground.screen(_between(seen, low, high))
    near = [one for one in finer if low < one.bytes_mean < high and one.way.setting not in done]
    for one in ladder(near, 2 * RUNGS)[:MOST_CLOSER]:
        look(one)
    return sorted(found, key=lambda one: one.bytes_mean)


def ladder(screened: Iterable[Screened], rungs: int) -> list[Screened]:
    """The one that keeps most of each size of message, unless a cheaper one keeps more.

    What is dearer than the cheapest that keeps (nearly) all is left out.
    """
    best = best_of_each_size(screened, rungs)
    chosen: list[Screened] = []
    top = 0.0
    ceiling = max((one.kept for one in best), default=0.0) - SLACK / 10
    for one in best:
        if one.kept >= top - SLACK:
            chosen.append(one)
        top = max(top, one.kept)
        if top >= ceiling:
            break
    return chosen


def best_of_each_size(screened: Iterable[Screened], rungs: int) -> list[Screened]:
    """The one that keeps most of each size of message; `rungs` sizes in a doubling."""
    best: dict[int, Screened] = {}
    for one in screened:
        rung = math.floor(rungs * math.log2(max(one.bytes_mean, 1)))
        if rung not in best or one.kept > best[rung].kept:
            best[rung] = one
    return [one for _, one in sorted(best.items())]


def contenders(found: Sequence[ScoredSetting]) -> list[Way]:
    """Settings one of which will be the cheapest of equal quality on all scenes.

    The cheapest that come close, the cheapest with something to spare, and the best of all.
    """
    by_bytes = sorted(found, key=lambda one: one.bytes_mean)
    close = [one for one in by_bytes if one.share >= CLOSE][:MOST_CONTENDERS]
    safe = [one for one in by_bytes if one.share >= (1 + EQUAL) / 2][:1]
    equal = [one for one in by_bytes if one.equal][:1]
    best = [max(by_bytes, key=lambda one: one.share)]
    return list({one.way.setting: one.way for one in close + equal + safe + best}.values())


def strongest(found: Sequence[ScoredSetting]) -> ScoredSetting:
    """The cheapest of equal quality; where none is equal, the best."""
    equal = [one for one in found if one.equal]
    if equal:
        return min(equal, key=lambda one: one.bytes_mean)
    return max(found, key=lambda one: one.share)


def cheapest_by_facts(found: Sequence[ScoredSetting], whole_f1: float) -> ScoredSetting | None:
    """The cheapest that keeps as much of the facts' F1 as is asked of CIDEr."""
    equal = [one for one in found if one.scores.fact_f1 >= EQUAL * whole_f1]
    return min(equal, key=lambda one: one.bytes_mean, default=None)


def _edge(found: Sequence[ScoredSetting]) -> tuple[float, float]:
    """Bytes between which the cheapest equal setting lies: a failure's and the cheapest equal's."""
    equal = [one.bytes_mean for one in found if one.equal]
    high = min(equal, default=max(one.bytes_mean for one in found) * 2)
    low = max((one.bytes_mean for one in found if one.bytes_mean < high), default=high / 2)
    return 0.8 * low, 1.1 * high


def _between(seen: Sequence[Screened], low: float, high: float) -> list[Way]:
    """Qualities between those of an image codec's grid, where they take `low` to `high` bytes.

    Sizes that keep less than the others there are left out.
    """
    sizes: dict[tuple[int, int], list[tuple[int, Screened, ImageWay]]] = {}
    for one in seen:
        if isinstance(one.way, ImageWay):
            sizes.setdefault(one.way.size, []).append((one.way.quality, one, one.way))
    gaps = [
        (below, above)
        for grid in sizes.values()
        for below, above in pairwise(sorted(grid, key=lambda entry: entry[0]))
        if below[1].bytes_mean < high and above[1].bytes_mean > low
    ]
    best = max((above[1].kept for _, above in gaps), default=0.0)
    finer: list[Way] = []
    for (first, _, way), (last, above, _) in gaps:
        if above.kept >= best - 3 * SLACK:
            thirds = {first + (last - first) // 3, first + 2 * (last - first) // 3}
            finer += [way.at(quality) for quality in sorted(thirds - {first, last})]
    return finer


def _told(one: ScoredSetting, say: Say) -> ScoredSetting:
    say(
        f"  {one.way.family:8} {one.way.setting:46} {one.bytes_mean:8,.0f} B"
        f"  CIDEr {100 * one.share:5.1f} %  F1 {one.scores.fact_f1:.4f}"
    )
    return one

"""What exists on the street and how often: the generator, its exact entropy, its vocabulary.

The probabilities factor, so the entropy of a scene has a closed form:

    H = H(time) + H(weather) + H(setting) + H(n) + E[log2 C(cells, n)] + E[n] H(thing)
    H(thing) = H(kind) + E over kinds of (log2 #colours allowed + H(motion) + H(count))

A scene is canonical, so the map from these choices to scenes is one to one and nothing is
counted twice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from aiflow.street.scene import COLUMNS, DISTANCES, MOTIONS, Cell, Scene, Thing

Weighted = tuple[tuple[str, float], ...]
"""Names with their probabilities, which sum to 1."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing."""

    name: str
    motions: tuple[float, float, float]
    """Probabilities of still, left, right."""
    counts: tuple[float, ...]
    """Probabilities of 1, 2, ... members."""

    @property
    def moves(self) -> bool:
        """Whether it ever moves."""
        return self.motions[0] < 1.0


@dataclass(frozen=True, slots=True)
class World:
    """Vocabulary and probabilities. Small ones can be enumerated."""

    times: Weighted
    weathers: Weighted
    settings: Weighted
    kinds: tuple[Kind, ...]
    """All equally likely."""
    colours: tuple[str, ...]
    """Equally likely among those allowed for the kind."""
    held_out: frozenset[tuple[str, str]]
    """(kind, colour) pairs that `sample` never shows."""
    numbers: tuple[float, ...]
    """Probabilities of 0, 1, ... things."""
    distances: tuple[str, ...] = DISTANCES
    columns: tuple[str, ...] = COLUMNS

    def kind(self, name: str) -> Kind:
        """The kind of that name. Raises KeyError."""
        for kind in self.kinds:
            if kind.name == name:
                return kind
        raise KeyError(name)

    def cells(self) -> tuple[Cell, ...]:
        """All cells, near ones first."""
        return tuple(itertools.product(self.distances, self.columns))

    def colours_of(self, kind: str) -> tuple[str, ...]:
        """The colours in which `sample` shows this kind."""
        return tuple(c for c in self.colours if (kind, c) not in self.held_out)

    # Sampling

    def sample(self, rng: np.random.Generator) -> Scene:
        """Draw a scene of the main distribution (no held-out pair)."""
        number = _choose(rng, self.numbers)
        things = [self.sample_thing(rng, cell) for cell in self._sample_cells(rng, number)]
        return Scene(*self._sample_globals(rng), tuple(things))

    def sample_held_out(self, rng: np.random.Generator) -> Scene:
        """Draw a scene in which one thing, chosen uniformly, wears a held-out pair.

        The number of things is that of `sample` given at least one; the pair is uniform over
        the held-out ones; everything else is as in `sample`.
        """
        number = 1 + _choose(rng, [p / (1 - self.numbers[0]) for p in self.numbers[1:]])
        cells = self._sample_cells(rng, number)
        things = [self.sample_thing(rng, cell) for cell in cells]
        pairs = sorted(self.held_out)
        kind, colour = pairs[int(rng.integers(len(pairs)))]
        chosen = int(rng.integers(number))
        things[chosen] = self._dress(rng, self.kind(kind), colour, cells[chosen])
        return Scene(*self._sample_globals(rng), tuple(things))

    def sample_thing(self, rng: np.random.Generator, cell: Cell) -> Thing:
        """Draw what stands in a cell that is not empty."""
        kind = self.kinds[int(rng.integers(len(self.kinds)))]
        colours = self.colours_of(kind.name)
        return self._dress(rng, kind, colours[int(rng.integers(len(colours)))], cell)

    def _dress(self, rng: np.random.Generator, kind: Kind, colour: str, cell: Cell) -> Thing:
        motion = MOTIONS[_choose(rng, kind.motions)]
        return Thing(kind.name, colour, motion, 1 + _choose(rng, kind.counts), *cell)

    def _sample_cells(self, rng: np.random.Generator, number: int) -> list[Cell]:
        cells = self.cells()
        return [cells[int(i)] for i in rng.permutation(len(cells))[:number]]

    def _sample_globals(self, rng: np.random.Generator) -> tuple[str, str, str]:
        time, weather, setting = (
            table[_choose(rng, [p for _, p in table])][0]
            for table in (self.times, self.weathers, self.settings)
        )
        return time, weather, setting

    # Information

    def entropy_bits(self) -> float:
        """Entropy of `sample` in bits, exact."""
        cells = len(self.cells())
        bits = sum(_entropy(p for _, p in t) for t in (self.times, self.weathers, self.settings))
        bits += _entropy(self.numbers)
        bits += sum(p * math.log2(math.comb(cells, n)) for n, p in enumerate(self.numbers))
        mean_number = sum(n * p for n, p in enumerate(self.numbers))
        return bits + mean_number * self.thing_entropy_bits()

    def thing_entropy_bits(self) -> float:
        """Entropy of one thing, given its cell."""
        attributes = (
            math.log2(len(self.colours_of(k.name))) + _entropy(k.motions) + _entropy(k.counts)
            for k in self.kinds
        )
        return math.log2(len(self.kinds)) + sum(attributes) / len(self.kinds)


def street() -> World:
    """The built-in street."""
    moving = (0.4, 0.3, 0.3)
    fixed = (1.0, 0.0, 0.0)
    vehicle, group, static = (0.8, 0.2), (0.55, 0.3, 0.15), (0.85, 0.15)
    vehicles = ("car", "van", "bus", "truck", "tram", "tractor", "motorcycle")
    groups = ("cyclist", "pedestrian", "child", "dog", "horse", "robot")
    return World(
        times=(("dawn", 0.2), ("day", 0.35), ("dusk", 0.2), ("night", 0.25)),
        weathers=(("clear", 0.3), ("cloudy", 0.25), ("rain", 0.2), ("snow", 0.1), ("fog", 0.15)),
        settings=tuple(
            (name, 1 / 6)
            for name in ("town", "park", "harbour", "market", "countryside", "factory")
        ),
        kinds=(
            *(Kind(name, moving, vehicle) for name in vehicles),
            *(Kind(name, moving, group) for name in groups),
            *(Kind(name, fixed, static) for name in ("bench", "kiosk", "tent")),
        ),
        colours=("red", "orange", "yellow", "green", "blue", "purple", "white", "black"),
        # At most one for a kind and two for a colour, so that each half of a pair is well known.
        held_out=frozenset(
            {
                ("car", "purple"),
                ("van", "orange"),
                ("bus", "black"),
                ("truck", "yellow"),
                ("tractor", "blue"),
                ("motorcycle", "white"),
                ("cyclist", "red"),
                ("pedestrian", "green"),
                ("dog", "blue"),
                ("horse", "orange"),
                ("robot", "purple"),
                ("tent", "white"),
            }
        ),
        numbers=(0.02, 0.05, 0.10, 0.20, 0.31, 0.32),
    )


def _choose(rng: np.random.Generator, probabilities: Sequence[float]) -> int:
    # Generator.choice with p costs thirty times as much as this.
    draw, total = rng.random(), 0.0
    for index, probability in enumerate(probabilities):
        total += probability
        if draw < total:
            return index
    return len(probabilities) - 1


def _entropy(probabilities: Iterator[float] | Sequence[float]) -> float:
    return -sum(p * math.log2(p) for p in probabilities if p > 0)

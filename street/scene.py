"""One street scene: what is true of it, apart from how it happens to look.

A scene is canonical: its things are sorted by distance (near first), then by column, so two
scenes with the same facts are equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aiflow.common.errors import ConfigError

Fact = tuple[str, ...]
"""("time", v), ("weather", v), ("setting", v) or (attribute, cell, v), all strings."""

Cell = tuple[str, str]
"""(distance, column)."""

DISTANCES = ("near", "far")
COLUMNS = ("left", "middle", "right")
MOTIONS = ("still", "left", "right")


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing, or a group of the same, in one cell of the street."""

    kind: str
    colour: str
    motion: str
    """"still", "left" or "right"."""
    count: int
    distance: str
    column: str

    @property
    def cell(self) -> str:
        """The cell's name, like "near-left"."""
        return f"{self.distance}-{self.column}"

    def facts(self) -> tuple[Fact, Fact, Fact, Fact]:
        """What is true of this thing."""
        return (
            ("kind", self.cell, self.kind),
            ("colour", self.cell, self.colour),
            ("motion", self.cell, self.motion),
            ("count", self.cell, str(self.count)),
        )


def _order(thing: Thing) -> tuple[int, int]:
    return DISTANCES.index(thing.distance), COLUMNS.index(thing.column)


@dataclass(frozen=True, slots=True)
class Scene:
    """The globals and at most one thing in each cell. Raises ConfigError on a cell used twice."""

    time: str
    weather: str
    setting: str
    things: tuple[Thing, ...] = ()

    def __post_init__(self) -> None:
        things = tuple(sorted(self.things, key=_order))
        if len({thing.cell for thing in things}) != len(things):
            raise ConfigError("a street scene holds at most one thing in each cell")
        object.__setattr__(self, "things", things)

    def facts(self) -> frozenset[Fact]:
        """Everything that is true of the scene: 3 + 4 facts for each thing."""
        facts: list[Fact] = [
            ("time", self.time),
            ("weather", self.weather),
            ("setting", self.setting),
        ]
        for thing in self.things:
            facts.extend(thing.facts())
        return frozenset(facts)


@dataclass(frozen=True, slots=True)
class FactsScore:
    """Micro-averaged over all facts of all pairs; each figure is in 0..1."""

    precision: float
    recall: float
    f1: float


def facts_score(pairs: Iterable[tuple[frozenset[Fact], frozenset[Fact]]]) -> FactsScore:
    """Score (predicted, true) pairs. Nothing predicted and nothing true is a perfect score."""
    right = predicted_total = true_total = 0
    for predicted, true in pairs:
        right += len(predicted & true)
        predicted_total += len(predicted)
        true_total += len(true)
    precision = right / predicted_total if predicted_total else float(not true_total)
    recall = right / true_total if true_total else float(not predicted_total)
    f1 = 2 * right / (predicted_total + true_total) if predicted_total + true_total else 1.0
    return FactsScore(precision, recall, f1)

"""Says a scene in words: short, varied, and complete (every fact is stated)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from aiflow.street.grammar.phrases import (
    AND,
    COLON,
    COMMA,
    COUNTS,
    EMPTY,
    KINDS,
    MOVES,
    ON,
    PLACES,
    RELATIONS,
    SETTING_PLACES,
    STATIC,
    STAYS,
    TIME_NOUNS,
    TIME_PLACES,
    WEATHER_ADJECTIVES,
    WEATHER_PLACES,
    WHILE,
    WITH,
    Verb,
    join,
)
from aiflow.street.scene import COLUMNS, Scene, Thing

T = TypeVar("T")

_TRIES = 50
"""How often each further reference is tried before fewer are returned."""


class _Choice:
    """Draws variants; without a generator it always takes the first."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        self._rng = rng

    def pick(self, options: Sequence[T]) -> T:
        """One of them; the first about half the time."""
        if self._rng is None or len(options) == 1 or self._rng.random() < 0.4:
            return options[0]
        return options[int(self._rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        """Whether it happens."""
        return self._rng is not None and float(self._rng.random()) < probability


def describe(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """One caption, lower case, without a full stop. Without a generator: the plainest one."""
    return join(describe_phrases(scene, rng))


def describe_phrases(scene: Scene, rng: np.random.Generator | None = None) -> list[str]:
    """The same as a list of phrases."""
    choice = _Choice(rng)
    finite = not choice.chance(0.35)
    words = _globals(scene, choice)
    listed = not finite and words[0] != ON and choice.chance(0.5)
    words.append(WITH if listed else COMMA if words[0] == ON else COLON)
    if not scene.things:
        return [*words, choice.pick(EMPTY)]
    before: Thing | None = None
    things = _order(scene, choice)
    for i, thing in enumerate(things):
        clause, sentence = _clause(thing, before, choice, finite=finite)
        if before:
            words.append(_joint(choice, last=i == len(things) - 1, sentence=sentence))
        words += clause
        before = thing
    return words


def references(scene: Scene, rng: np.random.Generator, n: int = 5) -> list[str]:
    """`n` different captions of one scene."""
    found: dict[str, None] = {}
    for _ in range(_TRIES * n):
        found[describe(scene, rng)] = None
        if len(found) == n:
            break
    return list(found)


def _globals(scene: Scene, choice: _Choice) -> list[str]:
    weather = choice.pick(WEATHER_ADJECTIVES[scene.weather])
    noun = choice.pick(TIME_NOUNS[scene.time])
    place = choice.pick(SETTING_PLACES[scene.setting])
    time = choice.pick(TIME_PLACES[scene.time])
    sky = choice.pick(WEATHER_PLACES[scene.weather])
    return choice.pick(
        (
            [weather, noun, place],
            [ON, weather, noun, place],
            [place, time, sky],
            [time, sky, place],
            [place, ON, weather, noun],
        )
    )


def _order(scene: Scene, choice: _Choice) -> list[Thing]:
    """Near things first; or column by column; now and then far things first."""
    things = list(scene.things)
    if choice.chance(0.3):
        return sorted(things, key=lambda t: COLUMNS.index(t.column))
    if choice.chance(0.12):
        return sorted(things, key=lambda t: (t.distance == "near", COLUMNS.index(t.column)))
    return things


def _joint(choice: _Choice, *, last: bool, sentence: bool) -> str:
    if last and choice.chance(0.5):
        return WHILE if sentence and choice.chance(0.25) else AND
    return COMMA


def _clause(
    thing: Thing, before: Thing | None, choice: _Choice, *, finite: bool
) -> tuple[list[str], bool]:
    """What is said of one thing, and whether it is a whole sentence."""
    colour = [thing.colour]
    name = [KINDS[thing.kind][thing.count > 1]]
    verb = _verb(thing, choice)
    place, related = _place(thing, before, choice)
    attribute: list[str] = []
    tail: list[str] = []
    if thing.kind in STATIC:
        tail = _form(thing, verb, finite=finite) if choice.chance(0.15) else []
    elif thing.motion == "still" and choice.chance(0.25):
        attribute = [verb.participle]
    else:
        tail = _form(thing, verb, finite=finite)
    count = _count(thing, [*attribute, *colour][0])
    if (finite or not tail) and choice.chance(0.5 if related else 0.2):
        return [place, count, *attribute, *colour, *name, *tail], finite and bool(tail)
    return [count, *attribute, *colour, *name, *tail, place], finite and bool(tail)


def _verb(thing: Thing, choice: _Choice) -> Verb:
    return choice.pick((STAYS if thing.motion == "still" else MOVES)[thing.kind])


def _form(thing: Thing, verb: Verb, *, finite: bool) -> list[str]:
    form = (verb.singular if thing.count == 1 else verb.plural) if finite else verb.participle
    return [form if thing.motion == "still" else f"{form} {thing.motion}"]


def _count(thing: Thing, following: str) -> str:
    if thing.count == 1:
        return COUNTS[1][following[0] in "aeiou"]
    return COUNTS[thing.count][0]


def _place(thing: Thing, before: Thing | None, choice: _Choice) -> tuple[str, bool]:
    """Where it is, and whether that is said by relation to the thing before."""
    relation = _relation(thing, before) if before else None
    if before and relation and choice.chance(0.6):
        return choice.pick(RELATIONS[relation])[before.count > 1], True
    return choice.pick(PLACES[thing.cell]), False


def _relation(thing: Thing, before: Thing) -> str | None:
    """How `thing` lies to the one before, where a phrase for it resolves to one cell."""
    if thing.column == before.column:
        return "behind" if thing.distance == "far" else "before"
    step = COLUMNS.index(thing.column) - COLUMNS.index(before.column)
    if thing.distance == before.distance and abs(step) == 1:
        return "left" if step < 0 else "right"
    return None

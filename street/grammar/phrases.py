"""The inventory of phrases: every caption is built of these, by the writer and the parser alike.

A phrase is indivisible: one or more words that always come together, with a meaning. So a
tokenizer may hold one token for each. No phrase mixes what a thing is with its colour, its number
or its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

Meaning = tuple[str, str]
"""(slot, value); slots: time weather setting count colour kind motion cell relation break."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One way to say how something moves or stays."""

    singular: str
    plural: str
    participle: str

    def forms(self) -> tuple[str, str, str]:
        """All three."""
        return self.singular, self.plural, self.participle


# Globals. The first variant is the commonest.

TIME_NOUNS = {
    "dawn": ("dawn", "sunrise"),
    "day": ("day",),
    "dusk": ("dusk", "evening"),
    "night": ("night",),
}
TIME_PLACES = {
    "dawn": ("at dawn", "at daybreak"),
    "day": ("by day", "in daylight"),
    "dusk": ("at dusk", "in the evening"),
    "night": ("at night", "by night"),
}
WEATHER_ADJECTIVES = {
    "clear": ("a clear", "a cloudless"),
    "cloudy": ("a cloudy", "an overcast"),
    "rain": ("a rainy", "a wet"),
    "snow": ("a snowy",),
    "fog": ("a foggy", "a misty"),
}
WEATHER_PLACES = {
    "clear": ("under a clear sky", "in clear weather"),
    "cloudy": ("under clouds", "under a grey sky"),
    "rain": ("in the rain", "in pouring rain"),
    "snow": ("in the snow", "in falling snow"),
    "fog": ("in the fog", "in thick fog"),
}
SETTING_PLACES = {
    "town": ("in town", "on a town street"),
    "park": ("in the park", "in a park"),
    "harbour": ("at the harbour", "by the harbour"),
    "market": ("at the market", "on the market square"),
    "countryside": ("in the countryside", "out in the country"),
    "factory": ("by the factory", "outside the factory"),
}

# Things

COUNTS = {1: ("a", "an"), 2: ("two",), 3: ("three",)}
KINDS = {
    "car": ("car", "cars"),
    "van": ("van", "vans"),
    "bus": ("bus", "buses"),
    "truck": ("truck", "trucks"),
    "tram": ("tram", "trams"),
    "tractor": ("tractor", "tractors"),
    "motorcycle": ("motorcycle", "motorcycles"),
    "cyclist": ("cyclist", "cyclists"),
    "pedestrian": ("pedestrian", "pedestrians"),
    "child": ("child", "children"),
    "dog": ("dog", "dogs"),
    "horse": ("horse", "horses"),
    "robot": ("robot", "robots"),
    "bench": ("bench", "benches"),
    "kiosk": ("kiosk", "kiosks"),
    "tent": ("tent", "tents"),
}
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
STATIC = frozenset({"bench", "kiosk", "tent"})

_DRIVE = (
    Verb("drives", "drive", "driving"),
    Verb("rolls", "roll", "rolling"),
    Verb("heads", "head", "heading"),
)
_RIDE = (Verb("rides", "ride", "riding"), Verb("cycles", "cycle", "cycling"))
_WALK = (Verb("walks", "walk", "walking"), Verb("heads", "head", "heading"))
_RUN = (Verb("runs", "run", "running"),)
_TROT = (Verb("runs", "run", "running"), Verb("trots", "trot", "trotting"))
_PARKED = Verb("is parked", "are parked", "parked")
_STANDS = Verb("stands", "stand", "standing")
_WAITS = Verb("waits", "wait", "waiting")

MOVES: Mapping[str, tuple[Verb, ...]] = {
    **dict.fromkeys(("car", "van", "bus", "truck", "tram", "tractor", "motorcycle"), _DRIVE),
    "cyclist": _RIDE,
    **dict.fromkeys(("pedestrian", "robot"), _WALK),
    "child": _RUN,
    **dict.fromkeys(("dog", "horse"), _TROT),
}
"""Completed by a direction."""
STAYS: Mapping[str, tuple[Verb, ...]] = {
    **dict.fromkeys(
        ("car", "van", "bus", "truck", "tractor", "motorcycle"), (_PARKED, _WAITS)
    ),
    "tram": (_WAITS, _STANDS),
    **dict.fromkeys(("cyclist", "pedestrian", "child", "robot"), (_STANDS, _WAITS)),
    "dog": (Verb("sits", "sit", "sitting"), _WAITS),
    "horse": (Verb("grazes", "graze", "grazing"), _STANDS),
    **dict.fromkeys(("kiosk", "tent", "bench"), (_STANDS,)),
}  # fmt: skip
DIRECTIONS = ("left", "right")

PLACES = {
    "near-left": ("in front on the left", "in the left foreground", "close by on the left"),
    "near-middle": ("in front in the middle", "in the middle foreground", "close by in the middle"),
    "near-right": ("in front on the right", "in the right foreground", "close by on the right"),
    "far-left": (
        "at the back on the left", "in the left background", "in the distance on the left",
    ),
    "far-middle": (
        "at the back in the middle", "in the middle background", "in the distance in the middle",
    ),
    "far-right": (
        "at the back on the right", "in the right background", "in the distance on the right",
    ),
}  # fmt: skip
RELATIONS = {
    "behind": (("behind it", "behind them"),),
    "before": (("in front of it", "in front of them"),),
    "left": (("to the left of it", "to the left of them"), ("to its left", "to their left")),
    "right": (("to the right of it", "to the right of them"), ("to its right", "to their right")),
}
"""(after one thing, after a group); what they refer to is the thing mentioned last."""
EMPTY = ("nothing in sight", "nobody about", "an empty street")

# Joints

ON = "on"
COLON, COMMA, AND, WHILE, WITH, STOP = ":", ",", "and", "while", "with", "."
BREAKS = (COLON, COMMA, AND, WHILE, WITH, STOP)

_WORD = re.compile(r"[a-z]+|[,:.]")


@dataclass(frozen=True, slots=True)
class Inventory:
    """All phrases with their meanings, and how to cut a text into them."""

    meanings: Mapping[str, tuple[Meaning, ...]]
    longest: int
    """Words in the longest phrase."""

    def split(self, text: str) -> list[str]:
        """Cut into phrases, the longest first; words that belong to none are dropped."""
        words = _WORD.findall(text.lower())
        found: list[str] = []
        at = 0
        while at < len(words):
            for length in range(min(self.longest, len(words) - at), 0, -1):
                phrase = " ".join(words[at : at + length])
                if phrase in self.meanings:
                    found.append(phrase)
                    break
            else:
                length = 1
            at += length
        return found


def inventory() -> Inventory:
    """Everything the grammar can say."""
    meanings: dict[str, tuple[Meaning, ...]] = {}
    for phrase, meaning in entries():
        meanings.setdefault(phrase, meaning)
    return Inventory(meanings, max(len(phrase.split()) for phrase in meanings))


def entries() -> Iterator[tuple[str, tuple[Meaning, ...]]]:
    """Every way to say something, with its meaning; some phrases come more than once."""
    yield from ((phrase, (("break", phrase),)) for phrase in BREAKS)
    yield from ((phrase, ()) for phrase in (ON, *EMPTY))
    tables: tuple[tuple[str, Mapping[str, Iterable[str]]], ...] = (
        ("time", TIME_NOUNS), ("time", TIME_PLACES), ("weather", WEATHER_ADJECTIVES),
        ("weather", WEATHER_PLACES), ("setting", SETTING_PLACES), ("kind", KINDS),
        ("cell", PLACES), ("count", {str(n): words for n, words in COUNTS.items()}),
        ("colour", {colour: (colour,) for colour in COLOURS}),
    )  # fmt: skip
    for slot, table in tables:
        for value, variants in table.items():
            yield from ((phrase, ((slot, value),)) for phrase in variants)
    for value, pairs in RELATIONS.items():
        yield from ((phrase, (("relation", value),)) for pair in pairs for phrase in pair)
    for verb in (verb for verbs in STAYS.values() for verb in verbs):
        yield from ((form, (("motion", "still"),)) for form in verb.forms())
    for verb in (verb for verbs in MOVES.values() for verb in verbs):
        for way in DIRECTIONS:
            yield from ((f"{form} {way}", (("motion", way),)) for form in verb.forms())


def join(phrases: Iterable[str]) -> str:
    """Put phrases together as text; `split` takes them apart again."""
    return re.sub(r" (?=[,:.])", "", " ".join(phrases))


INVENTORY = inventory()

"""How well triggers find what happens on the live street, against its truth.

    street in time -> symbols -> edge's captions -> triggers -> events
           |-> facts of each frame ------------------------> occurrences

Triggers on words look for things; those that are like an example, a frame of the same street, are
to find the times at which the same things in the same colours are in the same places.

Counted are occurrences, not frames: an occurrence is found if an event comes while it lasts, and
every further event, and every one elsewhere, is wrong. No network and no gate here: frames come
at a fixed rate.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiflow.bench.tables import markdown
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.codec import Symbols
from aiflow.common.encoder import Encoder
from aiflow.common.errors import ConfigError
from aiflow.common.messages import Caption, CaptionBytes, Latency, caption_id
from aiflow.edge.config import TriggerConfig
from aiflow.edge.examples import Example
from aiflow.edge.triggers import Triggers
from aiflow.rig.render_pool import RenderPool, frames_of_a_street
from aiflow.street.scene import Fact

FPS: Final = 1.0
STREETS: Final = 60
BATCH: Final = 32
SLACK_S: Final = 2.0
"""So much before an occurrence and after it an event still counts as its own."""
SETTINGS: Final = ((0.0, 0.0), (0.0, 1.0), (0.8, 1.0))
"""Of `min_confidence` and `for_s`."""
SIMILARITIES: Final = (0.94, 0.96, 0.98)
BUNDLE: Final = "0" * 64
"""Id of the bundle that captions and examples here say they are of."""
EXAMPLE_EVERY_S: Final = 15.0
PEOPLE: Final = frozenset({"pedestrian", "child", "cyclist"})

Say = Callable[[str], None]
Figures = Mapping[str, Any]
Facts = frozenset[Fact]


@dataclass(frozen=True, slots=True)
class Case:
    """A trigger, and when what it is meant to find is really there."""

    config: TriggerConfig
    true: Callable[[Facts], bool]


def things(facts: Facts) -> list[dict[str, str]]:
    """Kind, colour, motion and count of each thing."""
    found: dict[str, dict[str, str]] = {}
    for fact in facts:
        if len(fact) == 3:
            attribute, cell, value = fact
            found.setdefault(cell, {})[attribute] = value
    return list(found.values())


CASES: Final = (
    Case(
        TriggerConfig(name="dog", any=("dog",)),
        lambda facts: any(one["kind"] == "dog" for one in things(facts)),
    ),
    Case(
        TriggerConfig(name="red-bus", any=("red bus",)),
        lambda facts: any((one["kind"], one["colour"]) == ("bus", "red") for one in things(facts)),
    ),
    Case(
        TriggerConfig(
            name="person-at-night",
            all=("night",),
            any=("pedestrian", "child", "children", "cyclist"),
        ),
        lambda facts: (
            ("time", "night") in facts and any(one["kind"] in PEOPLE for one in things(facts))
        ),
    ),
    Case(
        TriggerConfig(name="tram-and-no-dog", any=("tram",), none=("dog",)),
        lambda facts: (
            any(one["kind"] == "tram" for one in things(facts))
            and not any(one["kind"] == "dog" for one in things(facts))
        ),
    ),
    Case(
        TriggerConfig(name="rain", any=("rain", "rainy", "wet")),
        lambda facts: ("weather", "rain") in facts,
    ),
)


@dataclass(frozen=True, slots=True)
class Count:
    """Of one trigger, over one street or all."""

    events: int = 0
    right: int = 0
    occurrences: int = 0
    delays_s: tuple[float, ...] = ()
    """From the beginning of each occurrence to its event."""

    def __add__(self, other: Count) -> Count:
        return Count(
            self.events + other.events,
            self.right + other.right,
            self.occurrences + other.occurrences,
            self.delays_s + other.delays_s,
        )

    def as_json(self) -> dict[str, float | int | None]:
        delay_s = statistics.median(self.delays_s) if self.delays_s else None
        return {
            "events": self.events,
            "right": self.right,
            "occurrences": self.occurrences,
            "precision": round(self.right / self.events, 4) if self.events else None,
            "recall": round(self.right / self.occurrences, 4) if self.occurrences else None,
            "delay_s_median": None if delay_s is None else round(delay_s, 3),
        }


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Figures:
    """Measure the built-in bundle on live streets of two minutes (60, or `scenes`)."""
    if plot is not None:
        raise ConfigError("benchmark triggers has no picture; leave --plot out")
    streets, per_street = scenes or STREETS, frames_of_a_street(FPS)
    bundle = Bundle.open("street")
    encoder, captioner = Encoder.load(bundle), Captioner(bundle, "edge")
    counts = {(case.config.name, *at): Count() for at in SETTINGS for case in CASES}
    alike = {at: Count() for at in SIMILARITIES}
    with RenderPool(seed) as renders:
        frames = renders.live(FPS, streets * per_street, bundle.input_size)
        for street in range(streets):
            rows, truths = [], []
            for scene, image in (next(frames) for _ in range(per_street)):
                rows.append(encoder.encode(image).symbols)
                truths.append(scene.facts())
            drafts = caption(captioner, rows)
            for setting in SETTINGS:
                for name, count in of_a_street(*setting, drafts, truths).items():
                    counts[name, *setting] += count
            for at, count in of_examples(rows, drafts, truths, bundle).items():
                alike[at] += count
            say(f"{street + 1} of {streets} streets")
    figures: Figures = {
        "streets": streets,
        "fps": FPS,
        "slack_s": SLACK_S,
        "hold_off_s": CASES[0].config.hold_off_s,
        "triggers": [
            {"trigger": name, "min_confidence": at, "for_s": for_s, **count.as_json()}
            for (name, at, for_s), count in counts.items()
        ],
        "examples": [{"similarity": at, **count.as_json()} for at, count in alike.items()],
    }
    say(table(figures))
    return figures


def caption(captioner: Captioner, rows: Sequence[Symbols]) -> list[Draft]:
    """Of frames uint8 (K, D)."""
    drafts: list[Draft] = []
    for start in range(0, len(rows), BATCH):
        drafts += captioner.caption([Request(row) for row in rows[start : start + BATCH]])
    return drafts


def of_a_street(
    min_confidence: float, for_s: float, drafts: Sequence[Draft], truths: Sequence[Facts]
) -> dict[str, Count]:
    """All cases on the consecutive frames of one street."""
    setting = {"min_confidence": min_confidence, "for_s": for_s}
    configs = [case.config.model_copy(update=setting) for case in CASES]
    fired = events(configs, drafts)
    return {
        case.config.name: score(
            fired[case.config.name],
            occurrences([case.true(facts) for facts in truths], case.config.hold_off_s),
        )
        for case in CASES
    }


def of_examples(
    rows: Sequence[Symbols], drafts: Sequence[Draft], truths: Sequence[Facts], bundle: Bundle
) -> dict[float, Count]:
    """By similarity: triggers that are like one frame of the street, every `EXAMPLE_EVERY_S`."""
    counts = {at: Count() for at in SIMILARITIES}
    configs = [
        TriggerConfig(name=f"at-{number}", like="example", similarity=at)
        for number, at in enumerate(SIMILARITIES)
    ]
    seen = [view(facts) for facts in truths]
    step = round(EXAMPLE_EVERY_S * FPS)
    for shown in range(step // 2, len(rows), step):
        example = Example(
            bundle=BUNDLE,
            device="bench",
            camera="street",
            learned=shown / FPS,
            levels=bundle.levels,
            frames=(tuple(map(tuple, rows[shown].tolist())),),
        )
        fired = events(configs, drafts, rows, {"example": example})
        there = occurrences([one == seen[shown] for one in seen], configs[0].hold_off_s)
        for config in configs:
            counts[config.similarity] += score(fired[config.name], there)
    return counts


def view(facts: Facts) -> Facts:
    """Which things in which colours are where."""
    return frozenset(fact for fact in facts if fact[0] in {"kind", "colour"})


def events(
    configs: Sequence[TriggerConfig],
    drafts: Sequence[Draft],
    rows: Sequence[Symbols] | None = None,
    examples: Mapping[str, Example] | None = None,
) -> dict[str, list[float]]:
    """When each trigger fires, seconds, if frames come at `FPS`."""
    now = 0.0
    triggers = Triggers(configs, lambda: now, examples)
    found: dict[str, list[float]] = {config.name: [] for config in configs}
    for index, draft in enumerate(drafts):
        now = index / FPS
        symbols = None if rows is None else rows[index]
        for occurrence in triggers.take(_message(index, draft), symbols):
            found[occurrence.trigger].append(now)
    return found


def occurrences(true: Sequence[bool], hold_off_s: float) -> list[tuple[float, float]]:
    """First and last moment of each, seconds; gaps shorter than the hold-off belong to it."""
    found: list[tuple[float, float]] = []
    for now in (index / FPS for index, holds in enumerate(true) if holds):
        # It was false from one frame after the last true one.
        if found and now - (found[-1][1] + 1 / FPS) < hold_off_s:
            found[-1] = (found[-1][0], now)
        else:
            found.append((now, now))
    return found


def score(fired: Sequence[float], there: Sequence[tuple[float, float]]) -> Count:
    """Each occurrence takes the first event that falls into it; all other events are wrong."""
    left = list(there)
    delays = []
    for at in fired:
        own = next((one for one in left if one[0] - SLACK_S <= at <= one[1] + SLACK_S), None)
        if own is not None:
            left.remove(own)
            delays.append(at - own[0])
    return Count(len(fired), len(delays), len(there), tuple(delays))


def table(figures: Figures) -> str:
    """The triggers as Markdown."""
    words = [
        ("trigger", "min_confidence", "for_s", "precision", "recall", "median delay"),
        *(
            (one["trigger"], f"{one['min_confidence']:g}", f"{one['for_s']:g}", *_scores(one))
            for one in figures["triggers"]
        ),
    ]
    alike = [
        ("like an example", "precision", "recall", "median delay"),
        *((f"similarity {one['similarity']:g}", *_scores(one)) for one in figures["examples"]),
    ]
    return f"{markdown(words)}\n\n{markdown(alike)}"


def _scores(one: Figures) -> tuple[str, str, str]:
    delay_s = one["delay_s_median"]
    return (
        _share(one["precision"], one["right"], one["events"]),
        _share(one["recall"], one["right"], one["occurrences"]),
        "" if delay_s is None else f"{delay_s:.1f} s",
    )


def _share(value: float | None, part: int, whole: int) -> str:
    return "" if value is None else f"{value:.2f} ({part} of {whole})"


def _message(index: int, draft: Draft) -> Caption:
    return Caption(
        id=caption_id("bench", "street", 0, index),
        device="bench",
        camera="street",
        timestamp=index / FPS,
        type="new",
        text=draft.text,
        confidence=draft.confidence,
        tier="edge",
        mode="split",
        bytes=CaptionBytes(embedding=0, uplink=0),
        latency_s=Latency(total=0.0),
        bundle=BUNDLE,
        late=False,
        sequence=index,
    )

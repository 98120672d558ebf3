"""The triggers benchmark: its counting on made-up streets, and all of it on a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.bench import triggers
from aiflow.bench.triggers import CASES, Count, occurrences, score
from aiflow.common.bundle import built_in
from aiflow.common.captioner import Draft
from aiflow.common.errors import ConfigError
from aiflow.street.scene import Scene, Thing

DOG = Thing("dog", "red", "still", 2, "near", "left")
RED_BUS = Thing("bus", "red", "left", 1, "far", "left")


@pytest.fixture(autouse=True)
def _two_frames_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FPS", 2.0)


def frames(pattern: str) -> list[bool]:
    return [mark == "x" for mark in pattern]


def test_occurrences_have_a_beginning_and_an_end() -> None:
    assert occurrences(frames("..xxx...."), 10) == [(1.0, 2.0)]
    assert occurrences(frames("....."), 10) == []


def test_gaps_shorter_than_the_hold_off_belong_to_them() -> None:
    assert occurrences(frames("xx..xx"), 1.5) == [(0.0, 2.5)]
    assert occurrences(frames("xx..xx"), 1.0) == [(0.0, 0.5), (2.0, 2.5)]


def test_each_occurrence_takes_one_event() -> None:
    there = [(10.0, 20.0), (40.0, 50.0), (80.0, 81.0)]
    count = score([8.5, 15.0, 45.0, 60.0], there)
    assert count == Count(events=4, right=2, occurrences=3, delays_s=(-1.5, 5.0))
    assert count.as_json() == {
        "events": 4,
        "right": 2,
        "occurrences": 3,
        "precision": 0.5,
        "recall": 0.6667,
        "delay_s_median": 1.75,
    }


def test_nothing_there_and_nothing_fired_is_no_figure() -> None:
    assert Count().as_json()["precision"] is None
    assert (Count(2, 1, 1, (3.0,)) + Count(1, 0, 4)).as_json()["recall"] == 0.2


def test_what_is_said_and_true_is_right_and_what_is_only_said_is_wrong() -> None:
    with_dog = Scene("day", "clear", "town", (DOG,)).facts()
    without = Scene("day", "clear", "town", ()).facts()
    dog, nothing = Draft((), "two red dogs sit", 0.9), Draft((), "nothing in sight", 0.9)
    counts = triggers.of_a_street(0.0, 0.0, [nothing, dog, dog], [without, with_dog, with_dog])
    assert counts["dog"] == Count(1, 1, 1, (0.0,))
    counts = triggers.of_a_street(0.0, 0.0, [nothing, dog, dog], [without] * 3)
    assert counts["dog"] == Count(1, 0, 0)
    counts = triggers.of_a_street(0.95, 0.0, [nothing, dog, dog], [with_dog] * 3)
    assert counts["dog"] == Count(0, 0, 1)


def test_one_wrong_caption_is_not_enough_where_a_condition_must_last() -> None:
    with_dog = Scene("day", "clear", "town", (DOG,)).facts()
    without = Scene("day", "clear", "town", ()).facts()
    dog, nothing = Draft((), "two red dogs sit", 0.9), Draft((), "nothing in sight", 0.9)
    said = [dog, *[nothing] * 9, dog, dog, dog]
    true = [*[without] * 10, *[with_dog] * 3]
    assert triggers.of_a_street(0.0, 0.0, said, true)["dog"] == Count(1, 0, 1)
    assert triggers.of_a_street(0.0, 1.0, said, true)["dog"] == Count(1, 1, 1, (1.0,))


@pytest.mark.parametrize(
    "scene, true",
    [
        (Scene("day", "clear", "town", (DOG,)), {"dog"}),
        (Scene("day", "rain", "town", (RED_BUS,)), {"red-bus", "rain"}),
        (
            Scene("day", "clear", "town", (DOG, Thing("bus", "blue", "left", 1, "far", "left"))),
            {"dog"},
        ),
        (
            Scene("night", "fog", "park", (Thing("child", "red", "left", 3, "near", "right"),)),
            {"person-at-night"},
        ),
        (
            Scene("day", "fog", "park", (Thing("tram", "red", "left", 1, "near", "right"),)),
            {"tram-and-no-dog"},
        ),
        (
            Scene("day", "fog", "park", (DOG, Thing("tram", "red", "left", 1, "far", "right"))),
            {"dog"},
        ),
    ],
)
def test_the_truth_of_each_trigger(scene: Scene, true: set[str]) -> None:
    assert {case.config.name for case in CASES if case.true(scene.facts())} == true


def test_it_has_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no picture"):
        triggers.run(seed=1, plot=tmp_path, say=lambda _text: None, scenes=1)


@pytest.mark.skipif("street" not in built_in(), reason="needs the built-in bundle `street`")
def test_on_a_live_street_what_happens_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "FPS", 0.5)
    told: list[str] = []
    figures = triggers.run(seed=3, plot=None, say=told.append, scenes=1)
    assert len(figures["triggers"]) == len(CASES) * len(triggers.SETTINGS)
    whole = sum((Count(one["events"], one["right"], one["occurrences"])
                 for one in figures["triggers"]), Count())  # fmt: skip
    assert 0 < whole.right <= min(whole.events, whole.occurrences)
    for one in figures["examples"]:
        assert 0 < one["right"] <= min(one["events"], one["occurrences"])
    assert "| like an example" in told[-1]
    assert "| trigger" in told[-1]

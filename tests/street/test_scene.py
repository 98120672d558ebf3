from __future__ import annotations

import pytest

from aiflow.common.errors import ConfigError
from aiflow.street.scene import Scene, Thing, facts_score

BUS = Thing("bus", "red", "left", 2, "near", "right")
DOG = Thing("dog", "white", "still", 1, "far", "left")


def test_things_are_sorted_so_equal_scenes_are_equal() -> None:
    assert Scene("day", "rain", "town", (DOG, BUS)) == Scene("day", "rain", "town", (BUS, DOG))


def test_facts_are_tuples_of_strings() -> None:
    assert Scene("day", "rain", "town", (BUS,)).facts() == {
        ("time", "day"),
        ("weather", "rain"),
        ("setting", "town"),
        ("kind", "near-right", "bus"),
        ("colour", "near-right", "red"),
        ("motion", "near-right", "left"),
        ("count", "near-right", "2"),
    }


def test_a_cell_holds_one_thing() -> None:
    with pytest.raises(ConfigError):
        Scene("day", "rain", "town", (BUS, BUS))


def test_scores_are_micro_averaged() -> None:
    true = frozenset({("time", "day"), ("weather", "rain")})
    half = frozenset({("time", "day"), ("weather", "fog")})
    score = facts_score([(true, true), (half, true), (frozenset(), true)])
    assert score.precision == pytest.approx(3 / 4)
    assert score.recall == pytest.approx(3 / 6)
    assert score.f1 == pytest.approx(2 * 3 / (4 + 6))


def test_nothing_said_about_nothing_is_perfect() -> None:
    assert facts_score([(frozenset(), frozenset())]).f1 == 1.0
    assert facts_score([(frozenset(), frozenset({("time", "day")}))]).f1 == 0.0

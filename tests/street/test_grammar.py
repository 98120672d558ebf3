from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiflow.street import grammar, splits
from aiflow.street.grammar.phrases import entries
from aiflow.street.scene import Scene, Thing, facts_score
from aiflow.street.world import street

WORLD = street()
BUSES = Thing("bus", "red", "left", 2, "near", "left")
DOG = Thing("dog", "white", "still", 1, "far", "left")
EXAMPLE = Scene("night", "rain", "harbour", (BUSES, DOG))


def test_parsing_undoes_describing() -> None:
    for index in range(4000):
        rng = splits.rng("test", 6, index)
        scene = WORLD.sample(rng) if index % 2 else WORLD.sample_held_out(rng)
        for text in (grammar.describe(scene), grammar.describe(scene, rng)):
            assert grammar.parse(text) == scene.facts(), text


def test_captions_are_made_of_the_inventory_alone() -> None:
    known = set(grammar.phrases())
    for index in range(500):
        rng = splits.rng("test", 7, index)
        words = grammar.describe_phrases(WORLD.sample(rng), rng)
        assert set(words) <= known
        assert grammar.split(grammar.join(words)) == words


def test_no_phrase_is_ambiguous_or_mixes_kind_and_colour() -> None:
    meanings: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for phrase, meaning in entries():
        meanings.setdefault(phrase, set()).add(meaning)
    assert all(len(found) == 1 for found in meanings.values())
    assert all(len(meaning) <= 1 for found in meanings.values() for meaning in found)
    assert set(meanings) == set(grammar.phrases())


def test_five_different_references_for_every_scene() -> None:
    for index in range(200):
        rng = splits.rng("test", 8, index)
        scene = WORLD.sample(rng)
        texts = grammar.references(scene, rng)
        assert len(texts) == len(set(texts)) == 5
        assert all(grammar.parse(text) == scene.facts() for text in texts)


def test_an_empty_street_can_be_described_in_many_ways() -> None:
    texts = grammar.references(Scene("day", "fog", "park"), splits.rng("test", 0, 0), 8)
    assert len(set(texts)) == 8


def test_captions_are_lower_case_english_without_a_full_stop() -> None:
    for index in range(300):
        rng = splits.rng("test", 9, index)
        assert re.fullmatch(r"[a-z]+([,:]? [a-z]+)*", grammar.describe(WORLD.sample(rng), rng))


def test_captions_are_short() -> None:
    total = things = 0
    for index in range(1000):
        rng = splits.rng("test", 10, index)
        scene = WORLD.sample(rng)
        total += len(grammar.describe_phrases(scene, rng))
        things += len(scene.things)
    assert total / things < 7


def test_the_plainest_caption() -> None:
    assert grammar.describe(EXAMPLE) == (
        "a rainy night at the harbour: two red buses drive left in front on the left, "
        "a white dog sits at the back on the left"
    )


@pytest.mark.parametrize(
    "text",
    [
        (
            "A wet night, by the harbour: two red buses drive left in front on the left, "
            "a white dog waits behind them."
        ),
        (
            "behind nothing: at night in the rain at the harbour, in front on the left two red "
            "buses rolling left and behind them a sitting white dog"
        ),
        (
            "a rainy night at the harbour two red buses heading left close by on the left "
            "a white dog sitting behind them"
        ),
    ],
)
def test_people_may_say_it_otherwise(text: str) -> None:
    assert grammar.parse(text) == EXAMPLE.facts()


def test_relations_follow_the_thing_mentioned_last() -> None:
    text = (
        "a red car parked in front on the left, a blue van parked to its right, "
        "a black tram waits behind it, to the left of it a green tent"
    )
    kinds = {fact for fact in grammar.parse(text) if fact[0] == "kind"}
    assert kinds == {
        ("kind", "near-left", "car"),
        ("kind", "near-middle", "van"),
        ("kind", "far-middle", "tram"),
        ("kind", "far-left", "tent"),
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red bus",
        "behind it a red bus drives left",
        "a red bus drives left to the left of it in",
        "lorem ipsum: 17 ,,, and and while",
    ],
)
def test_what_has_no_place_states_nothing(text: str) -> None:
    assert grammar.parse(text) == frozenset()


def test_a_broken_caption_still_states_the_rest() -> None:
    whole = grammar.describe(EXAMPLE)
    cut = whole[: whole.index("dog")]
    assert facts_score([(grammar.parse(cut), EXAMPLE.facts())]).f1 > 0.7


@given(st.lists(st.sampled_from(grammar.phrases()), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_order_of_phrases_can_be_read(words: list[str]) -> None:
    for fact in grammar.parse(" ".join(words)):
        assert len(fact) in (2, 3)


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_can_be_read(text: str) -> None:
    grammar.parse(text)

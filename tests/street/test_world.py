from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.street.scene import MOTIONS, Cell, Scene, Thing
from aiflow.street.world import Kind, World, street

if TYPE_CHECKING:
    from tests.street.conftest import Log2Probability


def small_world() -> World:
    return World(
        times=(("day", 0.7), ("night", 0.3)),
        weathers=(("clear", 1.0),),
        settings=(("town", 0.5), ("park", 0.5)),
        kinds=(
            Kind("car", (0.4, 0.3, 0.3), (0.8, 0.2)),
            Kind("dog", (0.5, 0.5, 0.0), (0.6, 0.3, 0.1)),
            Kind("bench", (1.0, 0.0, 0.0), (1.0,)),
        ),
        colours=("red", "blue"),
        held_out=frozenset({("dog", "blue")}),
        numbers=(0.2, 0.3, 0.5),
        distances=("near",),
    )


def every_scene(world: World) -> Iterator[Scene]:
    """Every scene with positive probability; for small worlds only."""
    options = {cell: tuple(things_at(world, cell)) for cell in world.cells()}
    heads = [
        [name for name, p in table if p > 0]
        for table in (world.times, world.weathers, world.settings)
    ]
    for time, weather, setting in itertools.product(*heads):
        for number, p in enumerate(world.numbers):
            if p > 0:
                for cells in itertools.combinations(world.cells(), number):
                    for things in itertools.product(*(options[cell] for cell in cells)):
                        yield Scene(time, weather, setting, things)


def things_at(world: World, cell: Cell) -> Iterator[Thing]:
    for kind in world.kinds:
        motions = [m for m, p in zip(MOTIONS, kind.motions, strict=True) if p > 0]
        counts = [n for n, p in enumerate(kind.counts, start=1) if p > 0]
        for colour, motion, count in itertools.product(
            world.colours_of(kind.name), motions, counts
        ):
            yield Thing(kind.name, colour, motion, count, *cell)


def test_the_closed_form_of_the_entropy_equals_brute_force(
    log2_probability: Log2Probability,
) -> None:
    world = small_world()
    bits = [log2_probability(world, scene) for scene in every_scene(world)]
    assert math.isclose(sum(2**b for b in bits), 1.0, abs_tol=1e-9)
    assert math.isclose(-sum(b * 2**b for b in bits), world.entropy_bits(), abs_tol=1e-9)


def test_no_scene_is_enumerated_twice() -> None:
    scenes = list(every_scene(small_world()))
    assert len(scenes) == len({scene.facts() for scene in scenes})


def test_the_street_has_at_least_45_bits() -> None:
    assert street().entropy_bits() == pytest.approx(45.9098, abs=1e-4)


def test_sampled_surprise_agrees_with_the_entropy(log2_probability: Log2Probability) -> None:
    world, rng = street(), np.random.default_rng(0)
    bits = np.array([-log2_probability(world, world.sample(rng)) for _ in range(4000)])
    assert abs(bits.mean() - world.entropy_bits()) < 4 * bits.std() / math.sqrt(len(bits))


def test_sampling_follows_the_probabilities(log2_probability: Log2Probability) -> None:
    world, rng = small_world(), np.random.default_rng(1)
    seen = Counter(world.sample(rng).facts() for _ in range(20_000))
    for scene in every_scene(world):
        expected = 20_000 * 2 ** log2_probability(world, scene)
        assert abs(seen[scene.facts()] - expected) < 6 * math.sqrt(expected + 1)


def test_probabilities_sum_to_one() -> None:
    world = street()
    tables = [[p for _, p in t] for t in (world.times, world.weathers, world.settings)]
    tables += [list(world.numbers)]
    tables += [list(p) for kind in world.kinds for p in (kind.motions, kind.counts)]
    assert all(math.isclose(sum(table), 1.0) for table in tables)


def test_held_out_pairs_leave_every_kind_and_colour_well_known() -> None:
    world = street()
    assert len(world.held_out) == 12
    assert max(Counter(kind for kind, _ in world.held_out).values()) == 1
    assert max(Counter(colour for _, colour in world.held_out).values()) <= 2


def test_sample_never_shows_a_held_out_pair_and_sample_held_out_always() -> None:
    world, rng = street(), np.random.default_rng(2)
    for _ in range(1000):
        usual, other = world.sample(rng), world.sample_held_out(rng)
        assert not any((t.kind, t.colour) in world.held_out for t in usual.things)
        assert any((t.kind, t.colour) in world.held_out for t in other.things)


@pytest.mark.parametrize(
    "scene",
    [
        Scene("noon", "clear", "town"),
        Scene("day", "clear", "town", (Thing("dog", "blue", "still", 1, "near", "left"),)),
        Scene("day", "clear", "town", (Thing("bench", "red", "left", 1, "near", "left"),)),
        Scene("day", "clear", "town", (Thing("car", "red", "left", 4, "near", "left"),)),
        Scene("day", "clear", "town", (Thing("cow", "red", "left", 1, "near", "left"),)),
    ],
)
def test_what_never_happens_has_no_probability(
    scene: Scene, log2_probability: Log2Probability
) -> None:
    assert log2_probability(street(), scene) == -math.inf

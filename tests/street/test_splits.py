from __future__ import annotations

import itertools

import numpy as np
import pytest

from aiflow.common.errors import ConfigError
from aiflow.street import splits

EDGES = (0, 1, 2, 2**32, splits.SEEDS - 1)
INDEX_EDGES = (0, 1, 2, 2**56, splits.INDICES - 1)


def test_split_seed_and_index_can_be_read_back_from_the_number() -> None:
    # A map with an inverse is one to one: no two splits ever share a number.
    for split, seed, index in itertools.product(splits.SPLITS, EDGES, INDEX_EDGES):
        number = splits.number(split, seed, index)
        assert number < 2**128
        assert splits.SPLITS[(number >> 120) - 1] == split
        assert (number >> 64) % 2**56 == seed
        assert number % 2**64 == index


def test_the_number_is_the_generator_key() -> None:
    for split, seed, index in itertools.product(splits.SPLITS, EDGES, INDEX_EDGES):
        key = splits.rng(split, seed, index).bit_generator.state["state"]["key"]
        assert int(key[1]) << 64 | int(key[0]) == splits.number(split, seed, index)


def test_streams_differ_and_repeat() -> None:
    draws = {
        tuple(splits.rng(*where).integers(2**63, size=4).tolist())
        for where in itertools.product(splits.SPLITS, (0, 1, 2), (0, 1, 2))
    }
    assert len(draws) == len(splits.SPLITS) * 9
    assert np.array_equal(splits.rng("train", 3, 4).random(5), splits.rng("train", 3, 4).random(5))


@pytest.mark.parametrize(
    "where", [("trian", 0, 0), ("train", -1, 0), ("train", 2**56, 0), ("train", 0, 2**64)]
)
def test_what_is_out_of_range_is_refused(where: tuple[str, int, int]) -> None:
    with pytest.raises(ConfigError):
        splits.rng(*where)

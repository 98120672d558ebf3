from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiflow.bench.baselines.merged_code import MergedCode, fit_map, fit_values
from aiflow.bench.baselines.merging import merge
from aiflow.common.errors import PayloadMalformed

GRID, GROUPS, DIMS = (4, 5), 6, 3


def _labels(rng: np.random.Generator) -> np.ndarray:
    """Neighbours alike, as in pictures."""
    places = np.stack(np.meshgrid(np.arange(4), np.arange(5), indexing="ij"), -1).reshape(-1, 2)
    return merge((places + rng.normal(0, 0.6, (20, 2))).astype(np.float32), GROUPS)


def _values(rng: np.random.Generator) -> np.ndarray:
    return np.rint(rng.laplace(0, [4.0, 1.5, 0.4], (GROUPS, DIMS))).astype(np.int64)


@pytest.fixture(scope="module")
def code() -> MergedCode:
    rng = np.random.default_rng(0)
    labels = [_labels(rng) for _ in range(200)]
    sizes = np.stack([np.bincount(one, minlength=GROUPS) for one in labels])
    rows, reach = fit_values(np.stack([_values(rng) for _ in labels]), sizes)
    return MergedCode(GRID, GROUPS, fit_map(labels, GRID[1], GROUPS), rows, reach)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_coded_comes_back(code: MergedCode, seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    labels, values = _labels(rng), code.clip(_values(rng))
    back_labels, back_values = code.decode(code.encode(labels, values))
    np.testing.assert_array_equal(back_labels, labels)
    np.testing.assert_array_equal(back_values, values)


def test_any_labelling_can_be_coded(code: MergedCode) -> None:
    rng = np.random.default_rng(9)
    for _ in range(50):
        scattered = rng.permutation(np.arange(20) % GROUPS)
        order = list(dict.fromkeys(scattered.tolist()))
        labels = np.array([order.index(one) for one in scattered])
        values = code.clip(rng.integers(-300, 300, (GROUPS, DIMS)))
        back_labels, back_values = code.decode(code.encode(labels, values))
        np.testing.assert_array_equal(back_labels, labels)
        np.testing.assert_array_equal(back_values, values)


def test_tables_are_worth_their_fitting(code: MergedCode) -> None:
    rng = np.random.default_rng(77)
    sizes = [len(code.encode(_labels(rng), code.clip(_values(rng)))) for _ in range(100)]
    # 20 labels of log2(6) bits and 18 values of log2(2 * reach + 1) bits.
    even = (20 * np.log2(6) + 6 * sum(np.log2(2 * reach + 1) for reach in code.reach)) / 8
    assert np.mean(sizes) < 0.75 * even


def test_without_merging_the_map_costs_nearly_nothing() -> None:
    labels = np.arange(20)
    rows, reach = fit_values(np.zeros((50, 20, 1), np.int64), np.ones((50, 20), np.int64))
    code = MergedCode(GRID, 20, fit_map([labels] * 50, 5, 20), rows, reach)
    assert len(code.encode(labels, np.zeros((20, 1), np.int64))) <= 3


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(code: MergedCode, body: bytes) -> None:
    with contextlib.suppress(PayloadMalformed):
        labels, values = code.decode(body)
        assert labels.shape == (20,)
        assert values.shape == (GROUPS, DIMS)

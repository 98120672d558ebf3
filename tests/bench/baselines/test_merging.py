from __future__ import annotations

import numpy as np
import pytest

from aiflow.bench.baselines.merging import means, merge


def test_groups_that_lie_apart_are_found() -> None:
    rng = np.random.default_rng(1)
    belongs = rng.permutation(np.arange(40) % 4)
    centres = 20 * np.eye(4, 6)
    tokens = (centres[belongs] + rng.normal(0, 0.5, (40, 6))).astype(np.float32)
    labels = merge(tokens, 4)
    assert len({(a, b) for a, b in zip(belongs, labels, strict=True)}) == 4
    found = means(tokens, labels)
    for group in range(4):
        np.testing.assert_allclose(found[group], tokens[labels == group].mean(0), rtol=1e-4)


@pytest.mark.parametrize("count", [1, 3, 7, 20])
def test_labels_are_numbered_as_they_appear(count: int) -> None:
    tokens = np.random.default_rng(2).normal(size=(20, 5)).astype(np.float32)
    labels = merge(tokens, count)
    assert list(dict.fromkeys(labels.tolist())) == list(range(count))


def test_equal_tokens_still_make_as_many_groups() -> None:
    labels = merge(np.ones((12, 3), np.float32), 5)
    assert set(labels.tolist()) == set(range(5))


def test_with_as_many_groups_as_tokens_nothing_is_merged() -> None:
    tokens = np.random.default_rng(3).normal(size=(6, 2)).astype(np.float32)
    np.testing.assert_array_equal(merge(tokens, 6), np.arange(6))
    np.testing.assert_allclose(means(tokens, merge(tokens, 6)), tokens)

from __future__ import annotations

import numpy as np

from aiflow.common.codec import code_bits, compress, decompress
from aiflow.training.fit_tables import choose_parents, conditional_bits, fit_tables

LEVELS, SLOTS, DIMS = 3, 2, 3


def dependent_symbols(count: int, seed: int) -> np.ndarray:
    """Tokens whose second dimension repeats the first and whose third is nearly constant."""
    rng = np.random.default_rng(seed)
    symbols = rng.integers(0, LEVELS, (count, 2 * SLOTS, DIMS), dtype=np.uint8)
    symbols[..., 1] = symbols[..., 0]
    symbols[..., 2] = rng.random(symbols.shape[:2]) < 0.05
    return symbols


def test_fitted_tables_reach_the_entropy_of_what_they_were_fitted_to() -> None:
    tables = fit_tables(dependent_symbols(4000, 1), LEVELS, SLOTS)
    bits = [code_bits(rows, tables, layers=2) for rows in dependent_symbols(200, 2)]
    of_token = np.log2(3) - 0.05 * np.log2(0.05) - 0.95 * np.log2(0.95)
    assert np.mean(bits) < 1.05 * 2 * SLOTS * of_token


def test_fitted_tables_code_symbols_they_never_saw() -> None:
    tables = fit_tables(dependent_symbols(500, 1), LEVELS, SLOTS)
    rng = np.random.default_rng(3)
    for _ in range(50):
        rows = rng.integers(0, LEVELS, (2 * SLOTS, DIMS), dtype=np.uint8)
        body = compress(rows, tables, layers=2)
        assert np.array_equal(decompress(body, tables, layers=2), rows)


def test_the_parent_that_tells_most_is_chosen() -> None:
    rng = np.random.default_rng(4)
    slots = rng.integers(0, LEVELS, (2000, 6), dtype=np.uint8)
    slots[:, 5] = slots[:, 2]
    assert 2 in choose_parents(slots, 5, range(5), LEVELS)


def test_conditional_entropy_of_a_copy_is_zero() -> None:
    assert conditional_bits(np.diag([5.0, 3.0, 2.0])) == 0.0

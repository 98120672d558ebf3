"""Tables for symbols of many codes: what they cost, what they know, and how large they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.codec import code_bits, compress, decompress
from aiflow.common.tables import Tables
from aiflow.training.importing.code_tables import fit_tables

Symbols = NDArray[np.uint8]

CODES = 40


def drawn(share: NDArray[np.float64], shape: tuple[int, ...], seed: int = 1) -> Symbols:
    rng = np.random.default_rng(seed)
    return rng.choice(len(share), shape, p=share).astype(np.uint8)


def skewed(codes: int = CODES, seed: int = 0) -> NDArray[np.float64]:
    share = np.random.default_rng(seed).dirichlet(np.full(codes, 0.3))
    return np.asarray(share)


def bits(symbols: Symbols, tables: Tables, reference: Symbols | None = None) -> float:
    """A symbol."""
    cost = code_bits(symbols, tables, layers=len(tables.layers), reference=reference)
    return cost / symbols.size


def test_frequent_codes_are_cheap() -> None:
    share = skewed()
    entropy = float(-(share * np.log2(np.maximum(share, 1e-300))).sum())
    tables = fit_tables(drawn(share, (200, 6, 2)), CODES, (3, 6))
    new = drawn(share, (500, 6, 2), seed=2)
    assert np.mean([bits(one, tables) for one in new]) == pytest.approx(entropy, rel=0.05)


def test_tokens_that_differ_have_tables_of_their_own() -> None:
    each = [skewed(seed=token) for token in range(4)]

    def images(count: int, seed: int) -> Symbols:
        return np.stack([drawn(share, (count, 2), seed + k) for k, share in enumerate(each)], 1)

    tables = fit_tables(images(300, 10), CODES, (4,))
    assert len(set(tables.table_of.tolist())) == 8
    entropy = np.mean([-(share * np.log2(np.maximum(share, 1e-300))).sum() for share in each])
    assert np.mean([bits(one, tables) for one in images(300, 90)]) < entropy + 0.3


def test_tokens_that_are_alike_share_theirs() -> None:
    tables = fit_tables(drawn(skewed(), (30, 8, 2)), CODES, (8,))
    assert len(set(tables.table_of.tolist())) == 2
    assert tables.delta_table_of is None, "what does not hang together makes no deltas"


def recording(count: int, seed: int) -> Symbols:
    """Frames of which half of the tokens change, each code to one of two others."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, CODES, (6, 2))]
    for _ in range(count):
        step = np.where(rng.random((6, 1)) < 0.5, 1 + rng.integers(0, 2, (6, 2)), 0)
        frames.append((frames[-1] + step) % CODES)
    return np.stack(frames).astype(np.uint8)


def test_a_recording_is_coded_given_the_frame_before() -> None:
    tables = fit_tables(recording(400, 1), CODES, (6,))
    assert tables.delta_table_of is not None
    new = recording(50, 2)
    costs = [bits(now, tables, before) for before, now in pairwise(new)]
    assert np.mean(costs) < 1.6, "half of the tokens cost a bit a symbol, and each a flag"


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_coded_comes_back(layers: int) -> None:
    frames = recording(60, 3)
    tables = fit_tables(frames, CODES, (3, 6))
    part = frames[:, : tables.layers[layers - 1]]
    for before, now in pairwise(part):
        body = compress(now, tables, layers=layers, reference=before)
        back = decompress(body, tables, layers=layers, reference=before)
        np.testing.assert_array_equal(back, now)


def test_the_largest_tables_stay_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for tokens, stages in ((64, 32), (64, 8)):
        symbols = rng.integers(0, 255, (24, tokens, stages)).astype(np.uint8)
        symbols[:, ::2] = symbols[:1, ::2]
        fit_tables(symbols, 255, (16, 32, 64)).save(tmp_path / "tables.npz")
        assert (tmp_path / "tables.npz").stat().st_size < 2_000_000
        assert Tables.load(tmp_path / "tables.npz").tokens == tokens

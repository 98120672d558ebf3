"""Integer tables for the symbols of a fitted codec: static ones, and small.

A symbol of up to 255 codes leaves no room for parents, as the street's tables have them: one alone
makes 65,000 counts. What the codes of a token say of each other its stages have used up anyway. So
each stage has one table for all tokens or one for each of them, whichever is better on images that
it has not seen. In deltas a changed token's symbols are coded given the reference's, if that pays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.codec import code_bits
from aiflow.common.counts import DeltaCounts
from aiflow.common.tables import Tables
from aiflow.training.fit_tables import changes, in_whole_counts
from aiflow.training.importing.pictures import held_out

Symbols = NDArray[np.uint8]
Counts = NDArray[np.float64]

MAX_DELTA_STAGES: Final = 8
"""Stages that may be coded given the reference's symbol: 130 kB each."""


def fit_tables(symbols: Symbols, codes: int, layers: tuple[int, ...]) -> Tables:
    """Fit tables to symbols uint8 (M, K, R) of images in their order."""
    _, tokens, stages = symbols.shape
    learn = ~held_out(len(symbols))
    counts: list[NDArray[np.int64]] = []
    of_stage = [
        in_whole_counts(_best(symbols[:, :, stage], codes, learn)) for stage in range(stages)
    ]
    for token in range(tokens):
        counts += [rows[token % len(rows)][None] for rows in of_stage]
    nothing: list[tuple[int, ...]] = [()] * len(counts)
    pairs = np.stack([symbols[:-1], symbols[1:]])

    def tables(delta: DeltaCounts | None = None) -> Tables:
        return Tables.from_counts([codes] * stages, layers, nothing, counts, delta)

    both_held, both_learn = ~learn[:-1] & ~learn[1:], learn[:-1] & learn[1:]
    if stages > MAX_DELTA_STAGES or not both_held.any():
        return tables()
    # Symbols tell whether the images are a recording, each with much of the one before. How often
    # nothing changes is learned from a recording only: of others it would say that all always does.
    held, tried = pairs[:, both_held], tables(_delta(pairs[:, both_learn], codes))
    if _cost(held, replace(tried, delta_flags=None)) >= _cost(held, tables()):
        return tables()
    return tables(_delta(pairs, codes))


def leaning(counts: Counts) -> Counts:
    """Counts (rows, codes), rows of few leaning on the sum of all rows; none is 0.

    That sum weighs as much as a row has distinct codes (Witten and Bell, 1991).
    """
    every = counts.sum(axis=0) + 0.5
    weight = np.maximum((counts > 0).sum(axis=1, keepdims=True), 1)
    lean: Counts = counts + weight * every / every.sum()
    return lean


def _best(symbols: Symbols, codes: int, learn: NDArray[np.bool_]) -> Counts:
    """Counts of one stage, symbols (M, K): one row for all tokens, or one for each."""
    tokens = symbols.shape[1]

    def learned(images: Symbols) -> tuple[Counts, Counts]:
        each = np.stack([np.bincount(images[:, k], minlength=codes) for k in range(tokens)])
        return each.sum(axis=0, keepdims=True) + 0.5, leaning(each.astype(np.float64))

    def bits(counts: Counts) -> float:
        share = np.broadcast_to(counts / counts.sum(axis=1, keepdims=True), (tokens, codes))
        return float(-np.log2(share[np.arange(tokens), symbols[~learn]]).sum())

    shared, own = map(bits, learned(symbols[learn]))
    return learned(symbols)[own < shared]


def _cost(pairs: Symbols, tables: Tables) -> float:
    """Bits of deltas: pairs (2, P, K, R)."""
    layers = len(tables.layers)
    return sum(
        code_bits(now, tables, layers=layers, reference=before)
        for before, now in zip(*pairs, strict=True)
    )


def _delta(pairs: Symbols, codes: int) -> DeltaCounts:
    """Count what changes between consecutive images: pairs (2, P, K, R)."""
    before, now = pairs
    _, tokens, stages = now.shape
    changed, flags = changes(before, now)
    of_stage = []
    for stage in range(stages):
        counts = np.zeros((codes, codes))
        np.add.at(counts, (before[changed][:, stage], now[changed][:, stage]), 1)
        of_stage.append(in_whole_counts(leaning(counts)))
    return DeltaCounts([()] * (tokens * stages), of_stage * tokens, flags)

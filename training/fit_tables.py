"""Fit the codec's integer tables by counting symbols of the training split.

Within a base token every dimension is conditioned on all earlier ones, so that the tables
hold the token's exact joint distribution; the cells share their tables, as they share the
encoder's head. A refinement dimension is conditioned on the earlier symbols of its slot that
tell most about it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aiflow.common.counts import DeltaCounts
from aiflow.common.tables import Tables

Counts = NDArray[np.int64]

MAX_REFINEMENT_PARENTS = 3
MAX_DELTA_PARENTS = 3
BACK_OFF = 4.0
"""How many observations the shorter context counts for."""
PRECISION = 256
"""Fractional counts are scaled by this before they become integers."""


def row_index(symbols: NDArray[np.uint8], parents: Sequence[int], levels: int) -> NDArray[np.int64]:
    """Row of each observation: symbols (N, positions), the last parent running fastest."""
    index = np.zeros(len(symbols), np.int64)
    for parent in parents:
        index = index * levels + symbols[:, parent]
    return index


def smoothed(
    context: NDArray[np.int64], rows: int, target: NDArray[np.uint8], levels: int
) -> Counts:
    """Counts (rows, levels), rare contexts leaning on the same context without its first parent."""
    counts = np.zeros((rows, levels))
    np.add.at(counts, (context, target), 1)
    return in_whole_counts(_lean(counts, levels))


def _lean(counts: NDArray[np.float64], levels: int) -> NDArray[np.float64]:
    if len(counts) == 1:
        return counts + 0.5
    shorter = _lean(counts.reshape(levels, -1, levels).sum(0), levels)
    prior = shorter / shorter.sum(-1, keepdims=True)
    leaning: NDArray[np.float64] = counts + BACK_OFF * np.tile(prior, (levels, 1))
    return leaning


def conditional_bits(counts: NDArray[np.int64] | NDArray[np.float64]) -> float:
    """Entropy in bits of the symbol given its row."""
    total = counts.sum()
    rows = counts.sum(-1, keepdims=True)
    share = np.divide(counts, rows, out=np.ones(counts.shape), where=counts > 0)
    return float(-(counts * np.log2(share)).sum() / total)


def choose_parents(
    slots: NDArray[np.uint8], target: int, candidates: Sequence[int], levels: int
) -> tuple[int, ...]:
    """Greedily choose the candidates that reduce the conditional entropy of `target` most."""
    chosen: list[int] = []
    while len(chosen) < MAX_REFINEMENT_PARENTS:
        scored = []
        for candidate in candidates:
            if candidate not in chosen:
                context = row_index(slots, [*chosen, candidate], levels)
                rows = levels ** (len(chosen) + 1)
                seen = np.bincount(context * levels + slots[:, target], minlength=rows * levels)
                scored.append((conditional_bits(seen.reshape(rows, levels)), candidate))
        if not scored:
            break
        chosen.append(min(scored)[1])
    return tuple(sorted(chosen))


def changes(
    reference: NDArray[np.uint8], current: NDArray[np.uint8]
) -> tuple[NDArray[np.bool_], Counts]:
    """Which tokens changed (N, K), and how often by whether the one before did (K, 2, 2)."""
    changed: NDArray[np.bool_] = (reference != current).any(axis=2)
    after = np.concatenate([np.zeros_like(changed[:, :1]), changed[:, :-1]], axis=1)
    flags = np.ones((changed.shape[1], 2, 2), np.int64)
    for token, counted in enumerate(flags):
        np.add.at(counted, (after[:, token].astype(int), changed[:, token].astype(int)), 1)
    return changed, flags


def in_whole_counts(counts: NDArray[np.float64]) -> Counts:
    """Fractional counts as integers, finer than one each."""
    return np.rint(counts * PRECISION).astype(np.int64)


def fit_delta(
    reference: NDArray[np.uint8], current: NDArray[np.uint8], levels: int, slots: int
) -> DeltaCounts:
    """Count what changes between two frames of a stream: symbols uint8 (N, K, D) each.

    With 0 `slots` every token has tables of its own. A changed token is coded given the
    reference's symbol and the token's earlier dimensions.
    """
    _, tokens, dims = current.shape
    changed, flags = changes(reference, current)
    parents: list[tuple[int, ...]] = []
    counts: list[Counts] = []
    for token in range(tokens):
        members = _alike(token, slots)
        rows = np.concatenate(
            [
                np.concatenate([reference[:, m], current[:, m]], axis=1)[changed[:, m]]
                for m in members
            ]
        )
        for dim in range(dims):
            earlier = tuple(range(max(0, dim - MAX_DELTA_PARENTS), dim))
            context = row_index(rows, [dim, *(dims + d for d in earlier)], levels)
            size = levels ** (1 + len(earlier))
            parents.append(tuple(token * dims + d for d in earlier))
            counts.append(smoothed(context, size, rows[:, dims + dim], levels))
    return DeltaCounts(parents, counts, flags)


def _alike(token: int, slots: int) -> list[int]:
    """Tokens that share their tables with `token`: the same layer's cells, or itself."""
    if not slots:
        return [token]
    layer, slot = divmod(token, slots)
    return [token] if slot == 0 else [layer * slots + other for other in range(1, slots)]


def fit_tables(
    symbols: NDArray[np.uint8], levels: int, slots: int, delta: DeltaCounts | None = None
) -> Tables:
    """Fit tables to symbols uint8 (N, 2 * slots, D) of the training split."""
    _, tokens, dims = symbols.shape
    base, refinement = symbols[:, :slots], symbols[:, slots:]
    merged = np.concatenate([base, refinement], axis=2)
    groups = {0: merged[:, 0], 1: merged[:, 1:].reshape(-1, 2 * dims)}
    parents: list[tuple[int, ...]] = [()] * (tokens * dims)
    counts: list[Counts] = [np.zeros((1, 1), np.int64)] * (tokens * dims)
    for group, rows in groups.items():
        members = [0] if group == 0 else list(range(1, slots))
        for dim in range(2 * dims):
            local: tuple[int, ...] = tuple(range(dim))
            if dim >= dims:
                local = choose_parents(rows, dim, range(dim), levels)
            table = smoothed(
                row_index(rows, local, levels), levels ** len(local), rows[:, dim], levels
            )
            for slot in members:
                position = _position(slot, dim, slots, dims)
                parents[position] = tuple(_position(slot, p, slots, dims) for p in local)
                counts[position] = table
    return Tables.from_counts([levels] * dims, (slots, tokens), parents, counts, delta)


def fit_free_tables(
    symbols: NDArray[np.uint8],
    levels: int,
    layers: Sequence[int],
    delta: DeltaCounts | None = None,
) -> Tables:
    """Fit tables to symbols uint8 (N, K, D) of tokens that share nothing.

    Each position is conditioned on the earlier ones that tell most about it, whatever their token.
    """
    _, tokens, dims = symbols.shape
    flat = symbols.reshape(len(symbols), tokens * dims)
    parents, counts = [], []
    for position in range(tokens * dims):
        chosen = choose_parents(flat, position, range(position), levels)
        context = row_index(flat, chosen, levels)
        parents.append(chosen)
        counts.append(smoothed(context, levels ** len(chosen), flat[:, position], levels))
    return Tables.from_counts([levels] * dims, tuple(layers), parents, counts, delta)


def _position(slot: int, dim: int, slots: int, dims: int) -> int:
    """Coding position of a slot's dimension: base dims first, then refinement dims."""
    token = slot if dim < dims else slots + slot
    return token * dims + dim % dims

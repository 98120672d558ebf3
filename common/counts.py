"""From how often symbols were seen to rows of integer counts; `Tables.from_counts` uses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import BundleInvalid
from aiflow.common.rangecoder import MAX_TOTAL

Integers = NDArray[np.integer[Any]]

COUNT_LIMIT: Final = 2**40


@dataclass(frozen=True, eq=False)
class DeltaCounts:
    """How often things were seen in deltas.

    `parents` and `counts` are, per position, those of changed tokens; the rows of counts[p]
    (rows, levels) run over the reference's symbol first, then over the parents'. `flags` is of
    shape (K, 2, 2): after an unchanged and after a changed token, how often the token was
    unchanged and changed.
    """

    parents: Sequence[Sequence[int]]
    counts: Sequence[Integers]
    flags: Integers


def cumulative(counts: Integers, total: int = MAX_TOTAL) -> NDArray[np.uint16]:
    """Scale counts (..., L) to cumulative rows (..., L + 1) that end at `total`.

    Every symbol gets at least 1; a row that was never seen becomes uniform; what the division
    leaves over goes to the most frequent symbol. Raises BundleInvalid for counts outside
    0..2**40 - 1 and for more symbols than `total`.
    """
    counts = np.asarray(counts, np.int64)
    if counts.size == 0 or counts.min() < 0 or counts.max() >= COUNT_LIMIT:
        raise BundleInvalid("counts of symbols are missing or out of range")
    symbols = counts.shape[-1]
    if not symbols <= total <= MAX_TOTAL:
        raise BundleInvalid(f"{symbols} symbols do not fit a total of {total}")
    counts = np.where(counts.any(axis=-1, keepdims=True), counts, 1)
    scaled = 1 + counts * (total - symbols) // counts.sum(axis=-1, keepdims=True)
    best = counts.argmax(axis=-1)[..., None]
    left = total - scaled.sum(axis=-1, keepdims=True)
    np.put_along_axis(scaled, best, np.take_along_axis(scaled, best, -1) + left, -1)
    rows = np.zeros((*counts.shape[:-1], symbols + 1), np.uint16)
    rows[..., 1:] = scaled.cumsum(axis=-1)
    return rows


class TablePool:
    """Tables of cumulative rows, equal ones kept once."""

    def __init__(self) -> None:
        self._tables: list[NDArray[np.uint16]] = []
        self._index: dict[tuple[tuple[int, ...], bytes], int] = {}

    def add(self, counts: Sequence[Integers]) -> Integers:
        """Add a table per position, of shape (rows, levels); gives the number of each."""
        return np.array([self._add(cumulative(table)) for table in counts], np.int16)

    def joined(self) -> tuple[Integers, Integers]:
        """`tables_offset` and `tables`, as `Tables` has them."""
        offsets = np.cumsum([0, *(table.size for table in self._tables)])
        return offsets, np.concatenate([table.ravel() for table in self._tables])

    def _add(self, table: NDArray[np.uint16]) -> int:
        index = self._index.setdefault((table.shape, table.tobytes()), len(self._tables))
        if index == len(self._tables):
            self._tables.append(table)
        return index


def padded(parents: Sequence[Sequence[int]]) -> Integers:
    """Parents of each position as an array (positions, P), filled up with -1."""
    width = max(map(len, parents), default=0)
    rows = [[*own, *[-1] * (width - len(own))] for own in parents]
    return np.array(rows, np.int16).reshape(len(parents), width)

"""Entropy coding of merged tokens: who belongs to whom, and the quantized values of each group.

    labels (rows * columns,)   each position's label given its neighbours' labels
    values (groups, dims)      each value given the group's size and the two values before it

Static integer tables, fitted on the calibration split, with the range coder of our own codec. As
there, one walk encodes, decodes and counts; only what it does with a symbol differs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.counts import cumulative
from aiflow.common.errors import PayloadMalformed
from aiflow.common.rangecoder import RangeDecoder, RangeEncoder

MAX_VALUE: Final = 100
"""Larger ones are clipped; the tables grow with it."""
SIZE_CLASSES: Final = 3
ENERGY_CLASSES: Final = 3
_NEW, _OTHER, _MAP_SYMBOLS = 4, 5, 6
_MAP_CONTEXTS: Final = 10
_BACK_OFF: Final = 4.0

Row = list[int]
Code = Callable[[Row, int], int]
"""Cumulative counts of a symbol and the symbol, if known -> the symbol."""
NumberCode = Callable[[int, int], int]
"""The same for a symbol whose counts a number tells."""
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class MergedCode:
    """Fitted tables; `groups` and the grid (rows, columns) are known to both ends.

    `map_rows[context]` and `value_rows[dim][context]` are cumulative counts; `reach[dim]` is the
    largest value, up or down, that its table knows.
    """

    grid: tuple[int, int]
    groups: int
    map_rows: list[Row]
    value_rows: list[list[Row]]
    reach: tuple[int, ...]

    @property
    def dims(self) -> int:
        return len(self.reach)

    def clip(self, values: Integers) -> Integers:
        """What can be coded, nearest to `values` (..., dims)."""
        reach = np.array(self.reach)
        return np.clip(values, -reach, reach)

    def encode(self, labels: Integers, values: Integers) -> bytes:
        """Labels (P,) as `merge` numbers them, and clipped values (groups, dims)."""
        encoder = RangeEncoder()

        def code(row: Row, symbol: int) -> int:
            encoder.encode(row[symbol], row[symbol + 1], row[-1])
            return symbol

        self._walk(labels.tolist(), values.ravel().tolist(), code)
        return encoder.finish()

    def decode(self, body: bytes) -> tuple[Integers, Integers]:
        """Labels and values. Raises PayloadMalformed."""
        decoder = RangeDecoder(body)

        def code(row: Row, _: int) -> int:
            symbol = bisect_right(row, decoder.target(row[-1])) - 1
            decoder.consume(row[symbol], row[symbol + 1], row[-1])
            return symbol

        labels = [0] * (self.grid[0] * self.grid[1])
        values = [0] * (self.groups * self.dims)
        self._walk(labels, values, code)
        decoder.finish()
        return np.array(labels), np.array(values).reshape(self.groups, self.dims)

    def _walk(self, labels: list[int], values: list[int], code: Code) -> None:
        """Code everything in turn; the lists hold it, or are filled by decoding."""
        walk_map(
            labels,
            self.grid[1],
            self.groups,
            lambda context, symbol: code(self.map_rows[context], symbol),
            lambda count, symbol: code(list(range(count + 1)), symbol),
        )
        sizes = np.bincount(labels, minlength=self.groups).tolist()
        for group in range(self.groups):
            previous = before = 0
            for dim in range(self.dims):
                at = group * self.dims + dim
                row = self.value_rows[dim][value_context(sizes[group], previous, before)]
                values[at] = code(row, values[at] + self.reach[dim]) - self.reach[dim]
                previous, before = values[at], previous


def walk_map(
    labels: list[int], columns: int, groups: int, near: NumberCode, other: NumberCode
) -> None:
    """Code labels in raster order: one of the neighbours', the next new one, or another.

    `near` is given the context, which is how many different labels the neighbours have and
    whether a new one is left; `other` how many labels there are to choose from. Raises
    PayloadMalformed for what no merging gives.
    """
    seen = 0
    for at, label in enumerate(labels):
        around = _neighbours(labels, at, columns)
        symbol = around.index(label) if label in around else _NEW if label == seen else _OTHER
        symbol = near(2 * len(around) + (seen < groups), symbol)
        others = [one for one in range(seen) if one not in around]
        if symbol == _NEW and seen < groups:
            labels[at], seen = seen, seen + 1
        elif symbol == _OTHER and others:
            labels[at] = others[other(len(others), others.index(label) if label in others else 0)]
        elif symbol < len(around):
            labels[at] = around[symbol]
        else:
            raise PayloadMalformed("labels that no merging gives")


def _neighbours(labels: list[int], at: int, columns: int) -> list[int]:
    """Different labels to the left, above, above right and above left, in this order."""
    column = at % columns
    places = (
        (at - 1, column > 0),
        (at - columns, at >= columns),
        (at - columns + 1, at >= columns and column < columns - 1),
        (at - columns - 1, at >= columns and column > 0),
    )
    return list(dict.fromkeys(labels[place] for place, there in places if there))


def value_context(size: Any, previous: Any, before: Any) -> Any:
    """Of a value, given its group's size and the two values before it; numbers or arrays."""
    energy = abs(previous) + abs(before)
    sizes = 1 * (size > 1) + 1 * (size > 3)
    return ENERGY_CLASSES * sizes + 1 * (energy > 0) + 1 * (energy > 2)


def fit_map(labellings: Sequence[Integers], columns: int, groups: int) -> list[Row]:
    """Tables of the map from labels of the calibration split."""
    counts = np.ones((_MAP_CONTEXTS, _MAP_SYMBOLS), np.int64)

    def count(context: int, symbol: int) -> int:
        counts[context, symbol] += 1
        return symbol

    for labels in labellings:
        walk_map(labels.tolist(), columns, groups, count, lambda _, symbol: symbol)
    rows: list[Row] = cumulative(counts).tolist()
    return rows


def fit_values(values: Integers, sizes: Integers) -> tuple[list[list[Row]], tuple[int, ...]]:
    """Tables of values (pictures, groups, dims), sizes (pictures, groups); and their reach.

    A rare context leans on the dimension's counts in all contexts.
    """
    rows, reaches = [], []
    padded = np.pad(values, ((0, 0), (0, 0), (2, 0)))
    for dim in range(values.shape[2]):
        reach = int(np.clip(np.abs(values[..., dim]).max() + 1, 1, MAX_VALUE))
        symbols = np.clip(values[..., dim], -reach, reach) + reach
        contexts = value_context(sizes, padded[..., dim + 1], padded[..., dim])
        counts = np.zeros((SIZE_CLASSES * ENERGY_CLASSES, 2 * reach + 1))
        np.add.at(counts, (contexts, symbols), 1)
        marginal = counts.sum(0) + 0.1
        leaning = counts + _BACK_OFF * marginal / marginal.sum()
        rows.append(cumulative(np.rint(leaning * 256).astype(np.int64)).tolist())
        reaches.append(reach)
    return rows, tuple(reaches)

"""Frequency tables of a bundle: what the codec believes about the symbols of a frame.

A frame is K tokens of D dimensions; dimension d has `levels[d]` symbols. Position p = k * D + d
is coded in this order. Each position has a table; its row is picked by the symbols of earlier
positions, its parents. Rows are cumulative integer counts: 0, then rising by at least 1 a symbol
(every symbol can be coded) to a total of at most 2**15. No probability is ever a float here.

In a delta each token has a flag (0 unchanged, 1 changed), its row picked by whether the token
before it changed; and a changed token has tables of its own, whose row is picked first by the
reference's symbol at the same position. A bundle without them codes a changed token as in a key
frame.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np

from aiflow.common.arrays import load_integers, save_integers
from aiflow.common.counts import DeltaCounts, Integers, TablePool, cumulative, padded
from aiflow.common.errors import BundleInvalid
from aiflow.common.rangecoder import MAX_TOTAL

MAX_TOKENS: Final = 255
MAX_LEVELS: Final = 255
MAX_LAYERS: Final = 15
MAX_POSITIONS: Final = 4096
MAX_PARENTS: Final = 8
MAX_COUNTS: Final = 2**22
"""Of all tables together: 8 MiB in memory."""

# Without learned flags: after an unchanged token 15 of 16 are unchanged, after a changed one half.
_FLAGS: Final = ((0, 30_720, 32_768), (0, 16_384, 32_768))


class Step(NamedTuple):
    """Where a position's row begins: offset + reference's symbol * stride + parents' symbols."""

    offset: int
    levels: int
    reference_stride: int
    parents: tuple[tuple[int, int], ...]
    """Position and stride of each."""


@dataclass(frozen=True, eq=False)
class Tables:
    """Checked tables, ready for use; BundleInvalid if anything in them is inconsistent.

    levels         D            symbols of each dimension, 2 to 255
    layers         n            tokens up to and including each layer, rising; the last is K
    parents        (K*D, P)     earlier positions, -1 where there are fewer than P
    table_of       (K*D,)       the table that each position uses
    tables_offset  (T+1,)       where each table begins in `tables`, and where the last ends
    tables         flat         per table its rows of levels + 1 cumulative counts, in the order
                                of the parents' symbols, the last parent's running fastest
    delta_parents, delta_table_of    the same for changed tokens of a delta; the reference's
                                symbol comes before the parents'. Both or neither
    delta_flags    (K, 2, 3)    cumulative counts of a token's flag, after an unchanged and after
                                a changed token; the first token follows an unchanged one
    """

    levels: tuple[int, ...]
    layers: tuple[int, ...]
    parents: Integers
    table_of: Integers
    tables_offset: Integers
    tables: Integers
    delta_parents: Integers | None = None
    delta_table_of: Integers | None = None
    delta_flags: Integers | None = None

    counts: array[int] = field(init=False, repr=False)
    """`tables`, then the flags' rows: what `steps` and `flag_row` point into."""
    steps: tuple[Step, ...] = field(init=False, repr=False)
    delta_steps: tuple[Step, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_sizes(self)
        steps = delta_steps = _steps(self, self.parents, self.table_of, of_delta=False)
        used = set(self.table_of.tolist())
        if self.delta_parents is not None and self.delta_table_of is not None:
            delta_steps = _steps(self, self.delta_parents, self.delta_table_of, of_delta=True)
            used.update(self.delta_table_of.tolist())
        elif self.delta_parents is not None or self.delta_table_of is not None:
            raise BundleInvalid("tables: only half of the tables of deltas")
        _require(len(used) == self.tables_offset.size - 1, "a table that no position uses")
        counts = np.concatenate([self.tables, _flags(self).ravel()]).astype(np.uint16)
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "delta_steps", delta_steps)
        object.__setattr__(self, "counts", array("H", counts.tobytes()))

    @property
    def dims(self) -> int:
        return len(self.levels)

    @property
    def tokens(self) -> int:
        return self.layers[-1]

    def flag_row(self, token: int, *, after_change: bool) -> int:
        """Where the row of a token's flag begins in `counts`."""
        return len(self.counts) - 6 * (self.tokens - token) + 3 * after_change

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a bundle's tables; BundleInvalid if they are broken in any way."""
        names = [entry.name for entry in fields(cls) if entry.init]
        arrays = load_integers(path, frozenset(names))
        missing = [name for name in names if name not in arrays and not name.startswith("delta_")]
        if missing:
            raise BundleInvalid(f"{path.name} lacks {', '.join(missing)}")
        levels, layers = (tuple(arrays.pop(name).ravel().tolist()) for name in ("levels", "layers"))
        return cls(levels, layers, **arrays)

    def save(self, path: Path) -> None:
        """Write the tables; `load` gives them back."""
        arrays: dict[str, Integers] = {
            "levels": np.array(self.levels, np.uint8),
            "layers": np.array(self.layers, np.uint8),
            "tables_offset": self.tables_offset.astype(np.uint32),
            "tables": self.tables.astype(np.uint16),
        }
        for name in ("parents", "table_of", "delta_parents", "delta_table_of"):
            if (values := getattr(self, name)) is not None:
                arrays[name] = values.astype(np.int16)
        if self.delta_flags is not None:
            arrays["delta_flags"] = self.delta_flags.astype(np.uint16)
        save_integers(path, arrays)

    @classmethod
    def from_counts(
        cls,
        levels: Sequence[int],
        layers: Sequence[int],
        parents: Sequence[Sequence[int]],
        counts: Sequence[Integers],
        delta: DeltaCounts | None = None,
    ) -> Self:
        """Make tables from how often each symbol was seen (`aiflow.common.counts.cumulative`).

        `parents[p]` are the parents of position p; `counts[p]` is of shape (rows, levels of p),
        its rows in the order described above.
        """
        pool = TablePool()
        table_of = pool.add(counts)
        delta_table_of = pool.add(delta.counts) if delta else None
        tables_offset, tables = pool.joined()
        return cls(
            levels=tuple(map(int, levels)),
            layers=tuple(map(int, layers)),
            parents=padded(parents),
            table_of=table_of,
            tables_offset=tables_offset,
            tables=tables,
            delta_parents=padded(delta.parents) if delta else None,
            delta_table_of=delta_table_of,
            delta_flags=cumulative(delta.flags) if delta else None,
        )

    @classmethod
    def uniform(
        cls, tokens: int, dims: int, levels: int | Sequence[int], layers: Sequence[int] = ()
    ) -> Self:
        """Tables that know nothing, for tests and first fits: every symbol is equally likely.

        One number of `levels` counts for all dimensions; without `layers` there is one layer.
        """
        each = (levels,) * dims if isinstance(levels, int) else tuple(levels)
        _require(len(each) == dims, f"{len(each)} levels for {dims} dimensions")
        _require((layers or (tokens,))[-1] == tokens, f"layers {layers} of {tokens} tokens")
        distinct = sorted(set(each))
        rows = [np.arange(count + 1) for count in distinct]
        return cls(
            levels=each,
            layers=tuple(layers) or (tokens,),
            parents=np.zeros((tokens * dims, 0), np.int16),
            table_of=np.array([distinct.index(count) for count in each] * tokens),
            tables_offset=np.cumsum([0, *map(len, rows)]),
            tables=np.concatenate(rows),
        )


def _require(condition: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise BundleInvalid(f"tables: {what}")


def _check_sizes(tables: Tables) -> None:
    levels, layers = tables.levels, tables.layers
    _require(bool(levels) and all(2 <= n <= MAX_LEVELS for n in levels), f"levels {levels}")
    rising = all(a < b for a, b in pairwise((0, *layers)))
    _require(1 <= len(layers) <= MAX_LAYERS and rising, f"layers {layers}")
    _require(tables.tokens <= MAX_TOKENS, f"{tables.tokens} tokens")
    _require(tables.tokens * tables.dims <= MAX_POSITIONS, "too many positions")
    counts, offsets = tables.tables, tables.tables_offset
    _require(counts.ndim == 1 and 0 < counts.size <= MAX_COUNTS, "too few or too many counts")
    _require(offsets.ndim == 1 and 2 <= offsets.size <= 2 * MAX_POSITIONS + 1, "tables_offset")
    _require(int(counts.min()) >= 0 and int(counts.max()) <= MAX_TOTAL, "counts out of range")
    ends = offsets.tolist()
    _require(ends[0] == 0 and ends[-1] == counts.size, "tables_offset does not span the tables")
    _require(all(a < b for a, b in pairwise(ends)), "tables_offset does not rise")


def _steps(
    tables: Tables, parents: Integers, table_of: Integers, *, of_delta: bool
) -> tuple[Step, ...]:
    """Work out where each position finds its row, checking each table that is met."""
    positions = tables.tokens * tables.dims
    _require(table_of.shape == (positions,), f"table_of of shape {table_of.shape}")
    _require(
        parents.ndim == 2 and len(parents) == positions and parents.shape[1] <= MAX_PARENTS,
        f"parents of shape {parents.shape}",
    )
    ends = tables.tables_offset.tolist()
    steps, checked = [], set()
    for position, table in enumerate(table_of.tolist()):
        _require(0 <= table < len(ends) - 1, f"position {position} uses table {table}")
        own = [parent for parent in parents[position].tolist() if parent != -1]
        _require(all(0 <= parent < position for parent in own), f"parents of position {position}")
        levels = tables.levels[position % tables.dims]
        stride, strides = levels + 1, []
        for parent in reversed(own):
            strides.append((parent, stride))
            stride *= tables.levels[parent % tables.dims]
        size = stride * levels if of_delta else stride
        _require(ends[table + 1] - ends[table] == size, f"size of table {table}")
        if (table, levels) not in checked:
            _check_rows(tables.tables[ends[table] : ends[table + 1]], levels, table)
            checked.add((table, levels))
        reference_stride = stride if of_delta else 0
        steps.append(Step(ends[table], levels, reference_stride, tuple(reversed(strides))))
    return tuple(steps)


def _check_rows(counts: Integers, levels: int, table: int) -> None:
    rows = counts.reshape(-1, levels + 1).astype(np.int64)
    sound = (rows[:, 0] == 0).all() and (np.diff(rows, axis=1) >= 1).all()
    _require(bool(sound), f"a row of table {table} does not rise from 0 by at least 1 a symbol")


def _flags(tables: Tables) -> Integers:
    """The rows of the flags, learned or not, of shape (K, 2, 3)."""
    flags = tables.delta_flags
    if flags is None:
        return np.tile(np.array(_FLAGS), (tables.tokens, 1, 1))
    _require(flags.shape == (tables.tokens, 2, 3), f"delta_flags of shape {flags.shape}")
    _require(int(flags.min()) >= 0 and int(flags.max()) <= MAX_TOTAL, "flags out of range")
    _check_rows(flags.ravel(), 2, -1)
    return flags

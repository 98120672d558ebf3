from __future__ import annotations

import io
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiflow.common.arrays import MAX_FILE_BYTES, load_integers
from aiflow.common.counts import DeltaCounts, cumulative
from aiflow.common.errors import BundleInvalid
from aiflow.common.tables import Tables

SHARED = Tables.uniform(3, 2, (4, 3), (1, 3))
CHAINED = Tables.from_counts(
    (2, 3),
    (1, 2),
    [(), (0,), (1,), (0, 2)],
    [np.arange(1, 1 + rows * n).reshape(rows, n) for rows, n in ((1, 2), (2, 3), (3, 2), (4, 3))],
    DeltaCounts(
        [(), (0,), (), ()],
        [np.ones((rows, n), np.int64) for rows, n in ((2, 2), (6, 3), (2, 2), (3, 3))],
        np.ones((2, 2, 2), np.int64),
    ),
)
NAMES = frozenset({"a", "b"})


def changed(array: Any, at: int | tuple[int, int], value: int) -> NDArray[np.int64]:
    copy = np.array(array, np.int64)
    copy[at] = value
    return copy


# Building.


def test_uniform() -> None:
    assert (SHARED.tokens, SHARED.dims, SHARED.layers) == (3, 2, (1, 3))
    assert SHARED.tables.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert Tables.uniform(2, 3, 5).levels == (5, 5, 5)
    for levels, layers in (((4,), (1, 3)), ((4, 3), (1, 2)), ((4, 1), (3,))):
        with pytest.raises(BundleInvalid):
            Tables.uniform(3, 2, levels, layers)


def test_rows_run_over_the_parents_symbols_the_last_one_fastest() -> None:
    step = CHAINED.steps[3]
    assert step.parents == ((0, 8), (2, 4))
    first, second = 1, 1
    row = step.offset + sum(s * stride for s, (_, stride) in zip((1, 1), step.parents, strict=True))
    expected = cumulative(np.arange(1, 13).reshape(4, 3))[2 * first + second]
    assert CHAINED.counts[row : row + 4].tolist() == expected.tolist()


def test_rows_of_deltas_run_over_the_reference_first() -> None:
    assert CHAINED.delta_steps[1].reference_stride == 8
    assert CHAINED.delta_steps[1].parents == ((0, 4),)
    assert all(step.reference_stride == 0 for step in CHAINED.steps)


def test_equal_tables_are_stored_once() -> None:
    same = Tables.from_counts((4, 4), (2,), [()] * 4, [np.ones((1, 4), np.int64)] * 4)
    assert same.table_of.tolist() == [0, 0, 0, 0]
    assert same.tables.size == 5


@given(st.lists(st.lists(st.integers(0, 2**40 - 1), min_size=3, max_size=3), min_size=1))
def test_cumulative_rows_rise_to_the_total(counts: list[list[int]]) -> None:
    rows = cumulative(np.array(counts)).astype(int)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, -1] == 2**15).all()
    assert (np.diff(rows) >= 1).all()
    for row, count in zip(rows, counts, strict=True):
        if sum(count):
            share = np.array(count) / sum(count)
            assert np.abs(np.diff(row) / 2**15 - share).max() < 4 / 2**15


@pytest.mark.parametrize(
    "counts",
    [np.zeros((0, 2), int), np.array([-1, 2]), np.array([2**40, 1]), np.ones(2**15 + 1, int)],
)
def test_counts_out_of_range(counts: NDArray[np.int64]) -> None:
    with pytest.raises(BundleInvalid):
        cumulative(counts)


# Checking.


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"levels": ()}, id="no levels"),
        pytest.param({"levels": (2, 1)}, id="one level"),
        pytest.param({"levels": (2, 256)}, id="256 levels"),
        pytest.param({"levels": (2, 4)}, id="other levels"),
        pytest.param({"layers": ()}, id="no layers"),
        pytest.param({"layers": (0, 2)}, id="empty layer"),
        pytest.param({"layers": (2, 2)}, id="layers do not rise"),
        pytest.param({"layers": (1, 3)}, id="more tokens than tables"),
        pytest.param({"layers": tuple(range(1, 17))}, id="16 layers"),
        pytest.param({"layers": (1, 256)}, id="256 tokens"),
        pytest.param({"parents": changed(CHAINED.parents, (1, 0), 1)}, id="its own parent"),
        pytest.param({"parents": changed(CHAINED.parents, (1, 0), 3)}, id="a later parent"),
        pytest.param({"parents": changed(CHAINED.parents, (1, 0), -2)}, id="parent -2"),
        pytest.param({"parents": changed(CHAINED.parents, (1, 0), -1)}, id="a parent less"),
        pytest.param({"parents": CHAINED.parents[:3]}, id="a position less"),
        pytest.param({"parents": CHAINED.parents[:, 0]}, id="parents in one dimension"),
        pytest.param({"parents": np.zeros((4, 9), int)}, id="9 parents"),
        pytest.param({"table_of": changed(CHAINED.table_of, 0, 99)}, id="no such table"),
        pytest.param({"table_of": changed(CHAINED.table_of, 0, -1)}, id="table -1"),
        pytest.param({"table_of": changed(CHAINED.table_of, 1, 0)}, id="another's table"),
        pytest.param({"table_of": CHAINED.table_of[:3]}, id="a table less"),
        pytest.param({"tables_offset": changed(CHAINED.tables_offset, 0, 1)}, id="starts late"),
        pytest.param({"tables_offset": changed(CHAINED.tables_offset, 1, 0)}, id="empty table"),
        pytest.param({"tables_offset": changed(CHAINED.tables_offset, 1, 4)}, id="other size"),
        pytest.param({"tables_offset": CHAINED.tables_offset[:-1]}, id="ends early"),
        pytest.param({"tables_offset": CHAINED.tables_offset[:1]}, id="no tables"),
        pytest.param({"tables": changed(CHAINED.tables, 0, 1)}, id="does not begin at 0"),
        pytest.param({"tables": changed(CHAINED.tables, 1, 0)}, id="a symbol of no count"),
        pytest.param({"tables": changed(CHAINED.tables, 1, 2**15)}, id="a falling row"),
        pytest.param({"tables": changed(CHAINED.tables, 2, 2**15 + 1)}, id="total too large"),
        pytest.param({"tables": changed(CHAINED.tables, 0, -1)}, id="negative"),
        pytest.param({"tables": CHAINED.tables[:0]}, id="no counts"),
        pytest.param({"delta_parents": None}, id="half a delta"),
        pytest.param({"delta_table_of": None}, id="the other half"),
        pytest.param({"delta_parents": None, "delta_table_of": None}, id="tables left over"),
        pytest.param({"delta_flags": np.zeros((2, 2, 2), int)}, id="shape of flags"),
        pytest.param({"delta_flags": np.zeros((2, 2, 3), int)}, id="flags of no count"),
        pytest.param({"delta_flags": np.full((2, 2, 3), 2**15 + 1)}, id="flags too large"),
    ],
)
def test_inconsistent_tables(change: dict[str, Any]) -> None:
    with pytest.raises(BundleInvalid):
        replace(CHAINED, **change)


# Files.


def test_saved_tables_come_back_and_have_one_spelling(tmp_path: Path) -> None:
    for tables in (SHARED, CHAINED):
        tables.save(tmp_path / "tables.npz")
        loaded = Tables.load(tmp_path / "tables.npz")
        assert (loaded.levels, loaded.layers) == (tables.levels, tables.layers)
        assert (loaded.steps, loaded.delta_steps) == (tables.steps, tables.delta_steps)
        assert loaded.counts == tables.counts
        loaded.save(tmp_path / "again.npz")
        assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "tables.npz").read_bytes()


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "tables.npz", levels=np.ones(2, np.uint8))
    with pytest.raises(BundleInvalid, match="lacks layers, parents"):
        Tables.load(tmp_path / "tables.npz")


@pytest.mark.parametrize(
    "arrays",
    [
        {"a": np.array([1.0])},
        {"a": np.array([True])},
        {"a": np.array(["x"])},
        {"a": np.array([{"evil": 1}], object)},
        {"a": np.asfortranarray(np.ones((2, 2), int))},
        {"c": np.array([1])},
    ],
    ids=["floats", "booleans", "text", "pickles", "Fortran order", "unknown name"],
)
def test_only_known_plain_integers_are_read(tmp_path: Path, arrays: dict[str, Any]) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(BundleInvalid, match=r"x\.npz"):
        load_integers(tmp_path / "x.npz", NAMES)


@pytest.mark.parametrize("shape", ["(1000000000000,)", "(0,)", "(2, 2)", "(-2,)", "(2", "()"])
def test_a_shape_that_the_bytes_do_not_bear_out(tmp_path: Path, shape: str) -> None:
    npy = io.BytesIO()
    np.save(npy, np.array([1, 2]))
    lying = npy.getvalue().replace(b"(2,)", shape.encode(), 1)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", lying)
    with pytest.raises(BundleInvalid):
        load_integers(tmp_path / "x.npz", NAMES)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(MAX_FILE_BYTES + 1))
    assert (tmp_path / "x.npz").stat().st_size < 100_000
    with pytest.raises(BundleInvalid, match="unpacks to over"):
        load_integers(tmp_path / "x.npz", NAMES)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_files_that_are_missing_too_large_or_twice_the_same(tmp_path: Path) -> None:
    with pytest.raises(BundleInvalid):
        load_integers(tmp_path / "x.npz", NAMES)
    with (tmp_path / "x.npz").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(BundleInvalid, match="larger"):
        load_integers(tmp_path / "x.npz", NAMES)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", b"")
        archive.writestr("a.npy", b"")
    with pytest.raises(BundleInvalid, match="other arrays"):
        load_integers(tmp_path / "x.npz", NAMES)


def test_damaged_files_are_invalid_or_harmless(tmp_path: Path) -> None:
    CHAINED.save(tmp_path / "tables.npz")
    whole, chance = (tmp_path / "tables.npz").read_bytes(), random.Random(6)
    refused = 0
    for _ in range(200):
        data = bytearray(whole[: chance.choice([len(whole), chance.randrange(len(whole))])])
        for _ in range(chance.randint(0, 3)):
            if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        (tmp_path / "x.npz").write_bytes(data)
        try:
            Tables.load(tmp_path / "x.npz")
        except BundleInvalid:
            refused += 1
    assert refused > 100

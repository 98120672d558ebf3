from __future__ import annotations

import sqlite3

import pytest

from aiflow.common.storage import complaint


@pytest.mark.parametrize(
    "of_sqlite, told",
    [
        ("database or disk is full", "no space left on the disk"),
        ("database is locked", "it is in use by another process"),
        ("unable to open database file", "unable to open database file"),
    ],
)
def test_complaints_are_told_in_a_reader_s_words(of_sqlite: str, told: str) -> None:
    assert complaint(sqlite3.OperationalError(of_sqlite)) == told

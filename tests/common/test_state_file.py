from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from aiflow.common.errors import StorageError
from aiflow.common.state_file import MAX_ASIDE, StateFile, complaint

STEPS = (
    "CREATE TABLE kept (word TEXT)",
    "ALTER TABLE kept ADD COLUMN times INTEGER NOT NULL DEFAULT 1",
    "INSERT INTO kept (word) VALUES ('third')",
)


def opened(path: Path, versions: int = len(STEPS)) -> StateFile:
    return StateFile(path, "notebook", STEPS[:versions], doctor="aiflow doctor", durable=True)


def rows(file: StateFile) -> list[tuple[object, ...]]:
    with file.reading() as database:
        return database.execute("SELECT * FROM kept").fetchall()


def put(file: StateFile, word: str) -> None:
    with file.writing() as database:
        database.execute("INSERT INTO kept (word) VALUES (?)", (word,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new" / "notebook.sqlite"


def test_an_older_file_is_brought_forward_with_what_is_in_it(path: Path) -> None:
    first = opened(path, 1)
    put(first, "old")
    first.close()
    second = opened(path, 2)
    assert rows(second) == [("old", 1)]
    second.close()
    third = opened(path)
    assert rows(third) == [("old", 1), ("third", 1)]
    third.close()
    again = opened(path)
    assert rows(again) == [("old", 1), ("third", 1)], "each step once"
    again.close()


def test_a_newer_file_is_refused_and_left_as_it_is(path: Path) -> None:
    opened(path).close()
    content = path.read_bytes()
    words = "notebook .*is of version 3, and this software knows 2 at most: install the newer one"
    with pytest.raises(StorageError, match=words):
        opened(path, 2)
    assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir() if "corrupt" in one.name] == []


def test_a_step_that_fails_leaves_the_version_before(path: Path) -> None:
    opened(path, 1).close()
    broken = (STEPS[0], "ALTER TABLE kept ADD COLUMN times INTEGER; ALTER TABLE none ADD COLUMN x")
    with pytest.raises(StorageError, match="no such table"):
        StateFile(path, "notebook", broken, doctor="aiflow doctor", durable=True)
    second = opened(path, 2)
    put(second, "whole")
    assert rows(second) == [("whole", 1)]
    second.close()


def test_corrupt_files_are_set_aside_bounded_and_never_overwritten(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    for number in range(MAX_ASIDE + 2):
        path.write_bytes(b"rubbish %d " % number * 100)
        file = opened(path)
        assert file.set_aside is not None
        assert rows(file) == [("third", 1)]
        file.close()
        for part in path.parent.glob("notebook.sqlite*"):
            if "corrupt" not in part.name:
                part.unlink()
    aside = sorted(path.parent.iterdir())
    assert [one.read_bytes()[:9] for one in aside] == [
        b"rubbish %d" % number for number in range(MAX_ASIDE)
    ]
    assert "is corrupt (file is not a database): moved to notebook.sqlite.corrupt-1" in caplog.text
    assert "removed, as enough are kept" in caplog.text


def test_a_write_is_whole_or_not_at_all(path: Path) -> None:
    file = opened(path, 1)
    with pytest.raises(ZeroDivisionError):
        put_half(file)
    assert rows(file) == []
    with pytest.raises(StorageError, match=r"notebook .*no such table: none; see `aiflow doctor`"):
        put_wrong(file)
    assert not file.damaged
    file.close()
    file.close()


def put_half(file: StateFile) -> None:
    with file.writing() as database:
        database.execute("INSERT INTO kept VALUES ('half')")
        raise ZeroDivisionError


def put_wrong(file: StateFile) -> None:
    with file.writing() as database:
        database.execute("INSERT INTO none VALUES (1)")


def test_a_file_in_use_is_told_by_sqlites_name_for_it(path: Path) -> None:
    file = StateFile(
        path, "notebook", STEPS, doctor="aiflow doctor", durable=False, exclusive=True, wait_s=0.01
    )
    put(file, "mine")
    with pytest.raises(StorageError, match="it is in use by another process; see `aiflow doctor`"):
        StateFile(path, "notebook", STEPS, doctor="aiflow doctor", durable=False, wait_s=0.01)
    file.close()


@pytest.mark.parametrize(
    "name, told",
    [
        ("SQLITE_FULL", "no space left on the disk"),
        ("SQLITE_BUSY_RECOVERY", "it is in use by another process"),
        ("SQLITE_LOCKED", "it is in use by another process"),
        ("SQLITE_CANTOPEN", "words of SQLite's own"),
    ],
)
def test_errors_are_told_apart_by_their_names(name: str, told: str) -> None:
    error = sqlite3.OperationalError("words of SQLite's own")
    error.sqlite_errorname = name
    assert complaint(error) == told


def test_an_error_without_a_name_keeps_its_words() -> None:
    assert complaint(sqlite3.ProgrammingError("Cannot operate")) == "Cannot operate"


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be created") as caught:
        opened(tmp_path / "file" / "notebook.sqlite")
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno in {errno.ENOTDIR, errno.EEXIST}

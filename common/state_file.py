"""A daemon's state on disk: one SQLite file with a version, for the outbox and the ledger.

    absent or older ──> migrated forward, one step a version
    newer           ──> refused, with a sentence: its content may be all that is left of a frame
    corrupt         ──> set aside, a new one begun; what was set aside is never overwritten

SQLite's errors leave as StorageError, in a reader's words, told apart by their names.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from aiflow.common.errors import StorageError

log = logging.getLogger(__name__)

MAX_ASIDE: Final = 5
"""Most corrupt files kept; a further one is removed, since the first ones tell how it began."""
WAL_PAGES: Final = 256
"""Checkpoint after so many pages, so that the log stays near 1 MiB."""
PARTS: Final = ("", "-wal", "-shm")
_CORRUPT: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_WORDS: Final = {
    "SQLITE_FULL": "no space left on the disk",
    "SQLITE_BUSY": "it is in use by another process",
    "SQLITE_LOCKED": "it is in use by another process",
}


class Corrupt(Exception):
    """The file holds what no version of ours has written."""


class StateFile:
    """An open file; any thread may call, calls take turns."""

    def __init__(
        self,
        path: Path,
        what: str,
        migrations: Sequence[str],
        *,
        doctor: str,
        durable: bool,
        exclusive: bool = False,
        wait_s: float = 5.0,
    ) -> None:
        """Open or create the file; each of `migrations` takes it one version further.

        `what` it is and which `doctor` knows more (`aiflow doctor ...`) is said in errors. A
        `durable` commit survives a power cut, another one only a killed process. With
        `exclusive` no other process can read it. Raises StorageError.
        """
        self._path = path
        self._what = what
        self._migrations = migrations
        self._pragmas = (
            f"locking_mode = {'EXCLUSIVE' if exclusive else 'NORMAL'}",
            "journal_mode = WAL",
            f"synchronous = {'FULL' if durable else 'NORMAL'}",
            f"wal_autocheckpoint = {WAL_PAGES}",
        )
        self._doctor = doctor
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self.damaged = False
        """The file turned out corrupt while in use; the next start sets it aside."""
        self.set_aside: Path | None = None
        """Where a corrupt file went when this one was opened."""
        self._database = self._opened()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Raises StorageError."""
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                self.damaged |= is_corrupt(error)
                raise StorageError(
                    f"{self._what} {self._path}: {complaint(error)}; see `{self._doctor}`"
                ) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All or nothing. Raises StorageError."""
        with self.reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """May be called twice."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _opened(self) -> sqlite3.Connection:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._connected()
            except (Corrupt, sqlite3.Error) as error:
                if not isinstance(error, Corrupt) and not is_corrupt(error):
                    raise
                self._put_aside(str(error))
            return self._connected()
        except OSError as error:
            raise StorageError(
                f"{self._what} {self._path} cannot be created: {error.strerror}"
            ) from error
        except sqlite3.Error as error:
            raise StorageError(
                f"{self._what} {self._path} cannot be opened: {complaint(error)}; "
                f"see `{self._doctor}`"
            ) from error

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(
            self._path, timeout=self._wait_s, isolation_level=None, check_same_thread=False
        )
        try:
            for pragma in self._pragmas:
                database.execute(f"PRAGMA {pragma}")
            self._migrate(database)
            _check(database)
        except BaseException:
            database.close()
            raise
        return database

    def _migrate(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        known = len(self._migrations)
        if version > known:
            raise StorageError(
                f"{self._what} {self._path} is of version {version}, and this software knows "
                f"{known} at most: install the newer one again, or move the file away to begin anew"
            )
        for number in range(max(version, 0), known):
            step = f"{self._migrations[number]};PRAGMA user_version = {number + 1}"
            database.executescript(f"BEGIN IMMEDIATE;{step};COMMIT;")

    def _put_aside(self, why: str) -> None:
        names = (f"{self._path.name}.corrupt-{number}" for number in range(1, MAX_ASIDE + 1))
        aside = [self._path.with_name(name) for name in names]
        free = next((one for one in aside if not one.exists()), None)
        for suffix in PARTS:
            part = self._path.with_name(self._path.name + suffix)
            if not part.exists():
                continue
            if free is None:
                part.unlink()
            else:
                part.replace(free.with_name(free.name + suffix))
        went = "removed, as enough are kept" if free is None else f"moved to {free.name}"
        log.error("%s %s is corrupt (%s): %s, a new one begins", self._what, self._path, why, went)
        self.set_aside = free or self._path


def _check(database: sqlite3.Connection) -> None:
    if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise Corrupt("its content is damaged")


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged, or no database at all."""
    return _name(error).startswith(_CORRUPT)


def complaint(error: sqlite3.Error) -> str:
    """SQLite's words, but for those that a reader should not have to look up."""
    name = _name(error)
    return next((words for known, words in _WORDS.items() if name.startswith(known)), str(error))


def _name(error: sqlite3.Error) -> str:
    """Of the result code; errors of Python's own module have none."""
    return getattr(error, "sqlite_errorname", "")

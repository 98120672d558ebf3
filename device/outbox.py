"""The outbox: accepted frames on disk until a receipt covers them. SQLite, one file per device.

    streams   camera -> identity, epoch, next sequence, descriptor
    entries   camera, sequence -> packed payload that stands alone, in the order of acceptance

`put` returns only after the frame is on the disk (write-ahead log, synced), so neither a killed
process nor a power cut loses it or makes a sequence number be used twice. Removal is not synced: a
frame that comes back is sent again, and the edge knows it. Bounded by entries and bytes: the oldest
frames go first, counted. A file that is no outbox is moved aside and a new one begun.

Any thread may call; calls take turns. One process at a time, guarded by a lock file.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters, Faults
from aiflow.common.storage import complaint

log = logging.getLogger(__name__)

VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS streams (
    camera TEXT PRIMARY KEY, identity TEXT NOT NULL, epoch_ms INTEGER NOT NULL,
    next INTEGER NOT NULL, descriptor BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, sequence INTEGER NOT NULL,
    payload BLOB NOT NULL, UNIQUE (camera, sequence)
);
"""
WAL_PAGES: Final = 256
"""Checkpoint after so many pages, so that the log stays near 1 MiB."""
FILES: Final = ("", "-wal", "-shm")
DROPPED: Final = {
    "entries": "the outbox holds its most frames: the oldest are dropped",
    "bytes": "the outbox holds its most bytes: the oldest frames are dropped",
    "stream": "frames that waited for another bundle, device name or key are dropped",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted frame."""

    sequence: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class StreamState:
    """A camera's session: `epoch_ms` is its start, `descriptor` what was last said of it."""

    epoch_ms: int
    waiting: int
    descriptor: bytes | None


class Outbox:
    """Frames of all cameras of one device; used with `with`."""

    def __init__(self, path: Path, *, max_entries: int, max_bytes: int, counters: Counters) -> None:
        """Open or create; raises StorageError if that is impossible or another process has it."""
        self._path = path
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.counters = counters
        self._faults = Faults(counters, "aiflow_outbox_faults_total", log)
        self._dropped: dict[str, int] = {}  # in the transaction under way, by reason
        self.damaged = False
        """The file turned out corrupt while in use; the next start moves it aside."""
        self._lock = threading.Lock()
        self._file_lock = _locked(path)
        try:
            self._database = self._opened()
        except StorageError:
            os.close(self._file_lock)
            raise
        row = self._database.execute("SELECT count(*), total(length(payload)) FROM entries")
        self._entries, self._bytes = (int(value) for value in row.fetchone())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def entries(self) -> int:
        return self._entries

    @property
    def payload_bytes(self) -> int:
        return self._bytes

    def begin(self, camera: str, identity: str, now_ms: int) -> StreamState:
        """Go on with a camera's session, or begin a new one.

        A new one begins when no frame of the camera is waiting, and when `identity` (whatever a
        payload is bound to: device, bundle, authentication) is not that of the frames that wait:
        nobody could read them, so they are dropped, counted as `stream`. Sequences go on rising
        even then: a late receipt of the old session covers nothing of the new one.
        """
        with self._transaction() as database:
            row = database.execute(
                "SELECT identity, epoch_ms, descriptor, next FROM streams WHERE camera = ?",
                (camera,),
            ).fetchone()
            waiting = self._count(camera)
            if row is not None and waiting and row[0] == identity:
                return StreamState(row[1], waiting, row[2])
            if waiting:
                self._forget("camera = ?", (camera,), "stream")
            epoch_ms, next_sequence = (
                (now_ms, 0) if row is None else (max(now_ms, row[1] + 1), row[3])
            )
            database.execute(
                "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, NULL)",
                (camera, identity, epoch_ms, next_sequence),
            )
            return StreamState(epoch_ms, 0, None)

    def describe(self, camera: str, descriptor: bytes) -> None:
        """Remember what describes a camera's session, for as long as it lasts."""
        with self._transaction() as database:
            database.execute(
                "UPDATE streams SET descriptor = ? WHERE camera = ?", (descriptor, camera)
            )

    def put(self, camera: str, build: Callable[[int], bytes]) -> Entry:
        """Accept a frame: `build` makes its payload from the sequence number it gets.

        Raises StorageError, and then nothing has changed.
        """
        with self._transaction(durable=True) as database:
            row = database.execute(
                "UPDATE streams SET next = next + 1 WHERE camera = ? RETURNING next - 1", (camera,)
            ).fetchone()
            if row is None:
                raise StorageError(f"camera {camera} has no session in the outbox")
            entry = Entry(row[0], build(row[0]))
            database.execute(
                "INSERT INTO entries (camera, sequence, payload) VALUES (?, ?, ?)",
                (camera, entry.sequence, entry.payload),
            )
            self._entries += 1
            self._bytes += len(entry.payload)
            self._make_room()
        return entry

    def after(self, camera: str, sequence: int, limit: int) -> list[Entry]:
        """Up to `limit` frames of a camera with higher sequences, ascending."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT sequence, payload FROM entries WHERE camera = ? AND sequence > ? "
                "ORDER BY sequence LIMIT ?",
                (camera, sequence, limit),
            ).fetchall()
        return [Entry(*row) for row in rows]

    def get(self, camera: str, sequence: int) -> Entry | None:
        """One frame, if it is still here."""
        found = self.after(camera, sequence - 1, 1)
        return found[0] if found and found[0].sequence == sequence else None

    def remove(self, camera: str, sequences: Iterable[int]) -> int:
        """Forget frames that a receipt covers; returns how many were here."""
        with self._transaction() as database:
            removed = 0
            for sequence in sequences:
                row = database.execute(
                    "DELETE FROM entries WHERE camera = ? AND sequence = ? "
                    "RETURNING length(payload)",
                    (camera, sequence),
                ).fetchone()
                if row is not None:
                    removed += 1
                    self._entries -= 1
                    self._bytes -= row[0]
            return removed

    def close(self) -> None:
        """May be called twice."""
        with self._lock:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            if self._file_lock >= 0:
                os.close(self._file_lock)
                self._file_lock = -1

    def _count(self, camera: str) -> int:
        row = self._database.execute("SELECT count(*) FROM entries WHERE camera = ?", (camera,))
        return int(row.fetchone()[0])

    def _make_room(self) -> None:
        """Drop the oldest frames of all cameras until the bounds hold; the newest one stays."""
        while self._entries > self._max_entries:
            self._forget("id = (SELECT min(id) FROM entries)", (), "entries")
        while self._bytes > self._max_bytes and self._entries > 1:
            self._forget("id = (SELECT min(id) FROM entries)", (), "bytes")

    def _forget(self, where: str, values: tuple[str, ...], reason: str) -> None:
        rows = self._database.execute(
            f"DELETE FROM entries WHERE {where} RETURNING length(payload)",  # noqa: S608 - ours
            values,
        ).fetchall()
        self._entries -= len(rows)
        self._bytes -= sum(row[0] for row in rows)
        self._dropped[reason] = self._dropped.get(reason, 0) + len(rows)

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """All or nothing; the counts of entries and bytes go back with it."""
        with self._reading() as database:
            before = self._entries, self._bytes
            self._dropped.clear()
            database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                self._entries, self._bytes = before
                with contextlib.suppress(sqlite3.Error):
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                raise
            for reason, count in self._dropped.items():
                self.counters.add("aiflow_outbox_dropped_total", count, reason=reason)
                self._faults.record(reason, DROPPED[reason])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as error:
                self.damaged |= type(error) is sqlite3.DatabaseError
                raise StorageError(f"outbox {self._path}: {complaint(error)}") from error

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connect(self._path)
        except sqlite3.OperationalError as error:  # no space, no permission: the file may be good
            raise StorageError(
                f"outbox {self._path} cannot be opened: {complaint(error)}; "
                "see `aiflow doctor device`"
            ) from error
        except sqlite3.DatabaseError as error:
            aside = self._path.with_name(f"{self._path.name}.corrupt")
            log.error(  # noqa: TRY400 - one line says it
                "outbox %s is corrupt (%s): moved to %s, a new one begins",
                self._path,
                error,
                aside.name,
            )
            self.counters.add("aiflow_outbox_corrupt_total")
            _move_aside(self._path, aside)
        try:
            return _connect(self._path)
        except sqlite3.Error as error:
            raise StorageError(f"outbox {self._path}: {complaint(error)}") from error


def _connect(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)
    try:
        _check(database)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        database.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in {0, VERSION}:
        raise sqlite3.DatabaseError(f"made by another version, {version}")
    if database.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("its content is damaged")


def _move_aside(path: Path, aside: Path) -> None:
    """Keep the latest corrupt file for whoever wants to look; an earlier one is overwritten."""
    try:
        for suffix in FILES:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.replace(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise StorageError(f"outbox {path} cannot be moved aside: {error.strerror}") from error


def _locked(path: Path) -> int:
    """An open lock file beside the outbox; the lock ends with the process, however it ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise StorageError(f"outbox {path} cannot be created: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise StorageError(f"outbox {path} is in use by another process") from error
    return descriptor

"""The outbox: accepted frames on disk until a receipt covers them. SQLite, one file per device.

    streams    camera -> identity, epoch of its present session, next sequence
    sessions   camera, epoch -> descriptor
    entries    camera, sequence -> epoch, what was seen and when, in the order of acceptance

A frame is kept as symbols, not as a payload: it is coded once, when it is sent. `put` returns only
after the frame is on the disk (write-ahead log, synced), so neither a killed process nor a power
cut loses it or makes a sequence number be used twice. Frames that a receipt covers leave with the
next `put`, so that both cost one commit; should that not come about, a frame that comes back is
sent again, and the edge knows it. Bounded by entries and bytes: the oldest frames go first,
counted.

Any thread may call; calls take turns. One process at a time, guarded by a lock file. A third of
this file is SQL.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters, Faults
from aiflow.common.state_file import StateFile
from aiflow.common.wire import Kind

log = logging.getLogger(__name__)

MIGRATIONS: Final = (
    """
    CREATE TABLE IF NOT EXISTS streams (
        camera TEXT PRIMARY KEY, identity TEXT NOT NULL, epoch_ms INTEGER NOT NULL,
        next INTEGER NOT NULL, descriptor BLOB
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS entries (
        id INTEGER PRIMARY KEY AUTOINCREMENT, camera TEXT NOT NULL, sequence INTEGER NOT NULL,
        payload BLOB NOT NULL, UNIQUE (camera, sequence)
    )
    """,
    # Frames were kept packed, those that wait have no kind and leave as they are.
    """
    CREATE TABLE sessions (
        camera TEXT NOT NULL, epoch_ms INTEGER NOT NULL, descriptor BLOB NOT NULL,
        PRIMARY KEY (camera, epoch_ms)
    ) WITHOUT ROWID;
    INSERT INTO sessions
        SELECT camera, epoch_ms, descriptor FROM streams WHERE descriptor IS NOT NULL;
    ALTER TABLE streams DROP COLUMN descriptor;
    CREATE TABLE frames (
        camera TEXT NOT NULL, sequence INTEGER NOT NULL, epoch_ms INTEGER NOT NULL,
        accepted INTEGER NOT NULL, kind INTEGER, captured_ms INTEGER NOT NULL,
        layers INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (camera, sequence)
    ) WITHOUT ROWID;
    INSERT INTO frames
        SELECT entries.camera, sequence, epoch_ms, id, NULL, 0, 1, payload
        FROM entries JOIN streams ON streams.camera = entries.camera;
    DROP TABLE entries;
    ALTER TABLE frames RENAME TO entries
    """,
)
OLDEST: Final = """
    (camera, sequence) = (
        SELECT entries.camera, sequence FROM streams CROSS JOIN entries
        ON entries.camera = streams.camera
        AND sequence = (SELECT min(sequence) FROM entries WHERE camera = streams.camera)
        ORDER BY accepted LIMIT 1
    )
"""
"""Of the oldest frame of each camera, the one that was accepted first."""
DROPPED: Final = {
    "entries": "the outbox holds its most frames: the oldest are dropped",
    "bytes": "the outbox holds its most bytes: the oldest frames are dropped",
    "stream": "frames that waited for another bundle, device name or key are dropped",
    "session": "frames from before the clock was set got no receipt: they are dropped",
}
CLOCK_S: Final = 2.0
"""A clock that is set by more begins a new session."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of a frame."""

    kind: Kind | None
    """Key (symbols as uint8), local or image (bodies); None for a payload packed already."""
    captured_ms: int
    """Since the epoch of its session."""
    body: bytes
    layers: int = 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted frame."""

    sequence: int
    epoch_ms: int
    record: Record


@dataclass(frozen=True, slots=True)
class StreamState:
    """A camera's present session: its start, and how many frames of any session wait."""

    epoch_ms: int
    waiting: int
    next_sequence: int


class Outbox:
    """Frames of all cameras of one device; used with `with`."""

    def __init__(self, path: Path, *, max_entries: int, max_bytes: int, counters: Counters) -> None:
        """Open or create; raises StorageError if that is impossible or another process has it."""
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.counters = counters
        self._faults = Faults(counters, "aiflow_outbox_faults_total", log)
        self._dropped: dict[str, int] = {}  # in the transaction under way, by reason
        self._gone: dict[str, int] = {}
        self._lock = threading.Lock()  # over the counts, which go back with a transaction
        self._file_lock = _locked(path)
        try:
            self._file = StateFile(
                path, "outbox", MIGRATIONS, doctor="aiflow doctor device", durable=True
            )
        except StorageError:
            os.close(self._file_lock)
            raise
        if self._file.set_aside is not None:
            counters.add("aiflow_outbox_corrupt_total")
        with self._file.reading() as database:
            row = database.execute(
                "SELECT count(*), total(length(body)), coalesce(max(accepted), 0) + 1 FROM entries"
            ).fetchone()
        self._entries, self._bytes, self._accepted = (int(value) for value in row)

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
    def damaged(self) -> bool:
        """Whether the file turned out corrupt while in use; the next start sets it aside."""
        return self._file.damaged

    @property
    def entries(self) -> int:
        return self._entries

    @property
    def payload_bytes(self) -> int:
        return self._bytes

    def gone(self, camera: str) -> int:
        """The highest sequence of a camera that the bounds have dropped; -1 if there is none."""
        return self._gone.get(camera, -1)

    def begin(self, camera: str, identity: str, now_ms: int, *, anew: bool = False) -> StreamState:
        """Go on with a camera's session, or begin a new one.

        A new one begins `anew`, when no frame of the camera is waiting, when the clock says that
        the present one has not begun yet, and when `identity` (whatever a payload is bound to:
        device, bundle, authentication) is not that of the frames that wait: nobody could read
        them, so they are dropped, counted as `stream`. Sequences go on rising even then: a late
        receipt of the old session covers nothing of the new one.
        """
        with self._transaction() as database:
            row = database.execute(
                "SELECT identity, epoch_ms, next FROM streams WHERE camera = ?", (camera,)
            ).fetchone()
            waiting = self._count(database, camera)
            if waiting and row is not None and row[0] != identity:
                self._forget(database, "camera = ?", (camera,), "stream")
                waiting = 0
            if row is not None and waiting and not anew and now_ms >= row[1] - 1000 * CLOCK_S:
                return StreamState(row[1], waiting, row[2])
            epoch_ms, next_sequence = (now_ms, 0) if row is None else (now_ms, row[2])
            if row is not None and epoch_ms == row[1]:
                epoch_ms += 1
            database.execute(
                "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?)",
                (camera, identity, epoch_ms, next_sequence),
            )
            database.execute(
                "DELETE FROM sessions WHERE camera = ?1 AND epoch_ms NOT IN "
                "(SELECT epoch_ms FROM entries WHERE camera = ?1)",
                (camera,),
            )
            return StreamState(epoch_ms, waiting, next_sequence)

    def describe(self, camera: str, epoch_ms: int, descriptor: bytes) -> None:
        """Remember what describes a session, for as long as frames of it wait."""
        with self._transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO sessions VALUES (?, ?, ?)", (camera, epoch_ms, descriptor)
            )

    def descriptor(self, camera: str, epoch_ms: int) -> bytes | None:
        """What was last said of a session."""
        with self._file.reading() as database:
            row = database.execute(
                "SELECT descriptor FROM sessions WHERE camera = ? AND epoch_ms = ?",
                (camera, epoch_ms),
            ).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, camera: str, record: Record, covered: Iterable[int] = ()) -> Entry:
        """Accept a frame, and forget those that a receipt covers.

        Raises StorageError, and then nothing has changed.
        """
        with self._transaction() as database:
            row = database.execute(
                "UPDATE streams SET next = next + 1 WHERE camera = ? RETURNING next - 1, epoch_ms",
                (camera,),
            ).fetchone()
            if row is None:
                raise StorageError(f"camera {camera} has no session in the outbox")
            sequence, epoch_ms = row
            entry = Entry(sequence, epoch_ms, record)
            self._remove(database, camera, covered)
            database.execute(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(camera, *row, self._accepted, record.kind),
                    *(record.captured_ms, record.layers, record.body),
                ),
            )
            self._accepted += 1
            self._entries += 1
            self._bytes += len(record.body)
            self._make_room(database)
        return entry

    def after(self, camera: str, sequence: int, limit: int) -> list[Entry]:
        """Up to `limit` frames of a camera with higher sequences, ascending."""
        with self._file.reading() as database:
            rows = database.execute(
                "SELECT sequence, epoch_ms, kind, captured_ms, body, layers FROM entries "
                "WHERE camera = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                (camera, sequence, limit),
            ).fetchall()
        return [
            Entry(number, epoch_ms, Record(None if kind is None else Kind(kind), *rest))
            for number, epoch_ms, kind, *rest in rows
        ]

    def get(self, camera: str, sequence: int) -> Entry | None:
        """One frame, if it is still here."""
        found = self.after(camera, sequence - 1, 1)
        return found[0] if found and found[0].sequence == sequence else None

    def remove(self, camera: str, sequences: Iterable[int]) -> int:
        """Forget frames that a receipt covers; returns how many were here."""
        with self._transaction() as database:
            return self._remove(database, camera, sequences)

    def drop_session(self, camera: str, epoch_ms: int) -> None:
        """Drop what waits of a session, counted: nobody has taken it for too long."""
        with self._transaction() as database:
            self._forget(database, "camera = ? AND epoch_ms = ?", (camera, epoch_ms), "session")

    def close(self) -> None:
        """May be called twice."""
        self._file.close()
        if self._file_lock >= 0:
            os.close(self._file_lock)
            self._file_lock = -1

    def _count(self, database: sqlite3.Connection, camera: str) -> int:
        row = database.execute("SELECT count(*) FROM entries WHERE camera = ?", (camera,))
        return int(row.fetchone()[0])

    def _remove(self, database: sqlite3.Connection, camera: str, sequences: Iterable[int]) -> int:
        removed = 0
        for sequence in sequences:
            row = database.execute(
                "DELETE FROM entries WHERE camera = ? AND sequence = ? RETURNING length(body)",
                (camera, sequence),
            ).fetchone()
            if row is not None:
                removed += 1
                self._entries -= 1
                self._bytes -= row[0]
        return removed

    def _make_room(self, database: sqlite3.Connection) -> None:
        """Drop the oldest frames of all cameras until the bounds hold; the newest one stays."""
        while self._entries > self._max_entries:
            self._forget(database, OLDEST, (), "entries")
        while self._bytes > self._max_bytes and self._entries > 1:
            self._forget(database, OLDEST, (), "bytes")

    def _forget(
        self,
        database: sqlite3.Connection,
        where: str,
        values: tuple[str | int, ...],
        reason: str,
    ) -> None:
        rows = database.execute(
            f"DELETE FROM entries WHERE {where} "  # noqa: S608 - ours
            "RETURNING length(body), camera, sequence",
            values,
        ).fetchall()
        self._entries -= len(rows)
        self._bytes -= sum(row[0] for row in rows)
        for _, camera, sequence in rows:
            self._gone[camera] = max(sequence, self._gone.get(camera, -1))
        self._dropped[reason] = self._dropped.get(reason, 0) + len(rows)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing; the counts of entries and bytes go back with it."""
        with self._lock:
            before = self._entries, self._bytes, dict(self._gone)
            self._dropped.clear()
            try:
                with self._file.writing() as database:
                    yield database
            except BaseException:
                self._entries, self._bytes, self._gone = before
                raise
            for reason, count in self._dropped.items():
                self.counters.add("aiflow_outbox_dropped_total", count, reason=reason)
                self._faults.record(reason, DROPPED[reason])


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

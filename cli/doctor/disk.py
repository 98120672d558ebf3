"""Where a tier keeps what outlives it: room, rights, and whether the file is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiflow.cli.doctor.finding import Finding, failed, ok, warning
from aiflow.cli.doctor.settings import TierSettings
from aiflow.device.outbox import CLOCK_S

TRIAL_BYTES: Final = 262_144
"""Written and removed again: what an outbox may want at one time, its log among it."""
ROOM_BYTES: Final = 64 << 20
"""Less is soon full, by whatever else the disk is for."""
WAIT_S: Final = 5.0


def disk(settings: TierSettings) -> Iterator[Finding]:
    """Of the tier's outbox or ledger, which need not be there yet."""
    store = settings.store
    if store is None:
        return
    folder = _first_there(store.parent)
    yield _room(folder, store.parent)
    if store.exists():
        yield _whole(store)
        yield from _stamps(store)


def _stamps(store: Path) -> Iterator[Finding]:
    """Whether frames wait that were taken by a clock that was ahead of today's."""
    now_ms = time.time_ns() // 1_000_000 + 1000 * CLOCK_S
    query = "SELECT count(*), max(epoch_ms) FROM entries WHERE epoch_ms > ?"
    with contextlib.suppress(sqlite3.Error), _opened(store) as database:
        count, latest_ms = database.execute(query, (now_ms,)).fetchone()
        if count:
            ahead_s = latest_ms / 1000 - time.time()
            yield warning(
                "stamps",
                f"{count:,} frames wait that a clock {ahead_s:,.0f} s ahead of today's has stamped",
                "nothing: they are captioned with those times, new frames have the right ones",
            )


def _opened(store: Path) -> contextlib.closing[sqlite3.Connection]:
    """Read only: a daemon may have it open."""
    uri = f"{store.absolute().as_uri()}?mode=ro"
    return contextlib.closing(sqlite3.connect(uri, uri=True, timeout=WAIT_S))


def _room(folder: Path, wanted: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    seen = f"{wanted}: {free / 1e6:,.0f} MB free"
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".aiflow-doctor-") as trial:
            trial.write(bytes(TRIAL_BYTES))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        return failed("disk", f"{seen}; writing there fails: {error.strerror}", _what_next(error))
    if free < ROOM_BYTES:
        return warning("disk", seen, "make room before it is full")
    return ok("disk", f"{seen}, and it can be written")


def _what_next(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "make room; until then frames are dropped as they come (reason: storage)"
    if isinstance(error, PermissionError):
        return "as which user was this asked? the tier's own must own that folder"
    return "keep it in a folder that can be written: path of [outbox], or ledger of an edge node"


def _whole(store: Path) -> Finding:
    held = ""
    try:
        with _opened(store) as database:
            (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
            tables = {row[0] for row in database.execute("SELECT name FROM sqlite_schema")}
            if "entries" in tables:
                (count,) = database.execute("SELECT count(*) FROM entries").fetchone()
                held = f"; {count:,} frames wait for their captions"
    except sqlite3.OperationalError as error:  # no rights, no room, or the writer is busy
        return warning(
            "store", f"{store} could not be looked into: {error}", "ask again as its owner"
        )
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    if verdict != "ok":
        return failed(
            "store",
            f"{store} is damaged: {verdict}",
            "start the tier: it moves the file aside and begins a new one; then look at the disk",
        )
    return ok("store", f"{store} is whole{held}")


def _first_there(folder: Path) -> Path:
    """The folder, or the one above it that is there: it is made in that."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder

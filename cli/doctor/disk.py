"""Where a tier keeps what outlives it: room, rights, and whether the file is whole."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiflow.cli.doctor.finding import Finding, failed, ok, warning
from aiflow.cli.doctor.settings import TierSettings

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
    """Read only: a daemon may have it open."""
    held = ""
    try:
        with contextlib.closing(
            sqlite3.connect(f"{store.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)
        ) as database:
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

"""What SQLite complains of, in a reader's words: for the device's outbox and the edge's ledger."""

from __future__ import annotations

import sqlite3


def complaint(error: sqlite3.Error) -> str:
    """SQLite's words, but for those that a reader should not have to look up."""
    words = str(error)
    if "full" in words:
        return "no space left on the disk"
    return "it is in use by another process" if "locked" in words else words

"""Logging of a command: one line per message on stderr, in a form for people."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum


class Level(StrEnum):
    """What --log-level takes."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def configure(level: Level) -> None:
    """Send messages of `level` and above to stderr. Called again, it replaces what it set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S")
    )
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)

"""Logging of a command: messages on stderr, in a form for whoever reads them there.

text      a terminal or a file   12:00:01 WARNING aiflow.device.capture: camera door: ...
journal   journald               <4>aiflow.device.capture: camera door: ...
json      a log collector        {"time": ..., "level": ..., "logger": ..., "message": ...}

journald is recognized by itself; it has a time of its own, and takes the number as the priority
(sd-daemon(3)), so that `journalctl -p warning` finds what it should.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

PRIORITIES: Final = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class Level(StrEnum):
    """What --log-level takes."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Format(StrEnum):
    """What --log-format takes."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


def configure(level: Level, form: Format = Format.AUTO) -> None:
    """Send messages of `level` and above to stderr. Called again, it replaces what it set."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(form))
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)


def _formatter(form: Format) -> logging.Formatter:
    if form is Format.JSON:
        return JsonFormatter()
    if form is Format.AUTO and _is_journal():
        return JournalFormatter("%(name)s: %(message)s")
    return logging.Formatter(
        "%(asctime)s %(levelname)-7s %(name)s: %(message)s", datefmt="%H:%M:%S"
    )


def _is_journal() -> bool:
    """Whether stderr is a stream of journald's: `JOURNAL_STREAM` names one (systemd.exec(5)).

    A child inherits the variable, so it alone does not say where stderr goes by now.
    """
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class JournalFormatter(logging.Formatter):
    """The priority before each line, those of a traceback among them."""

    def format(self, record: logging.LogRecord) -> str:
        priority = PRIORITIES.get(record.levelname, 6)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class JsonFormatter(logging.Formatter):
    """One object a line. `error` is there only with a traceback; the other keys always are."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)

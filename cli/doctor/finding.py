"""What one check of `aiflow doctor` has found. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something should be done."""
    FAILED = "failed"
    """The tier would not work, or not for long."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, what was seen, and what to do next."""

    check: str
    state: State
    seen: str
    next: str = ""


def ok(check: str, seen: str) -> Finding:
    """Nothing to do."""
    return Finding(check, State.OK, seen)


def warning(check: str, seen: str, what_next: str) -> Finding:
    """Something to do, some day."""
    return Finding(check, State.WARNING, seen, what_next)


def failed(check: str, seen: str, what_next: str) -> Finding:
    """Something to do before it works."""
    return Finding(check, State.FAILED, seen, what_next)

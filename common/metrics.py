"""Counters by name and labels, and faults that are always counted but seldom logged.

Names follow Prometheus: base units, `_total` for what only grows, label values from a small fixed
set (`reason`, `tier`), never the name of a device or camera.
"""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Final

MAX_SERIES: Final = 512
"""Most combinations of name and labels that one `Counters` holds."""

OVERFLOW: Final = "aiflow_series_overflow_total"
"""What counts the additions to series beyond `MAX_SERIES`."""

_Series = tuple[str, tuple[tuple[str, str], ...]]


class Counters:
    """Whole numbers that only grow, by name and labels; any thread may add."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._lock = threading.Lock()
        self._counts: dict[_Series, int] = {}
        self._max_series = max_series

    def add(self, name: str, amount: int = 1, **labels: str) -> int:
        """Add to one series and return its new value; `name` comes without the labels."""
        series = (name, tuple(sorted(labels.items())))
        with self._lock:
            if series not in self._counts and len(self._counts) >= self._max_series:
                series = (OVERFLOW, ())
            count = self._counts.get(series, 0) + amount
            self._counts[series] = count
            return count

    def value(self, name: str, **labels: str) -> int:
        """The value of one series; 0 if nothing was added."""
        with self._lock:
            return self._counts.get((name, tuple(sorted(labels.items()))), 0)

    def total(self, name: str) -> int:
        """The sum over all labels of one name."""
        with self._lock:
            return sum(count for (other, _), count in self._counts.items() if other == name)

    def series(self) -> list[tuple[str, dict[str, str], int]]:
        """Name, labels and value of all series, sorted."""
        with self._lock:
            counts = sorted(self._counts.items())
        return [(name, dict(labels), count) for (name, labels), count in counts]

    def snapshot(self) -> dict[str, int]:
        """All series, sorted, written as Prometheus does: `name{label="value"}`."""
        return {_written(name, labels): count for name, labels, count in self.series()}


class Distribution:
    """How many values were at most so great, for each of a few bounds; any thread may add."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """`bounds` rise."""
        self._lock = threading.Lock()
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        with self._lock:
            self._counts[bisect.bisect_left(self._bounds, value)] += 1
            self.sum += value

    @property
    def count(self) -> int:
        """Of all values."""
        with self._lock:
            return sum(self._counts)

    def cumulative(self) -> list[tuple[str, int]]:
        """Each bound as Prometheus writes it, up to `+Inf`, and how many are within it."""
        with self._lock:
            counts = list(itertools.accumulate(self._counts))
        return list(zip([*map(str, self._bounds), "+Inf"], counts, strict=True))


class Faults:
    """Counts faults by reason and logs at most one line per reason and `log_every_s`.

    The line says how many of that reason were counted without a line of their own. Reasons are a
    small fixed set, so what is remembered here is bounded by it.
    """

    def __init__(
        self,
        counters: Counters,
        name: str,
        log: logging.Logger,
        *,
        log_every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counters = counters
        self._name = name
        self._log = log
        self._log_every_s = log_every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._logged_at: dict[str, float] = {}
        self._silent: dict[str, int] = {}

    def record(self, reason: str, what: object, level: int = logging.WARNING) -> None:
        """Count one fault; `what` is its sentence, an exception or anything with a `str`.

        `level` is that of the line, if there is one: an error where somebody has to do something.
        """
        self._counters.add(self._name, reason=reason)
        now = self._clock()
        with self._lock:
            if now - self._logged_at.get(reason, float("-inf")) < self._log_every_s:
                self._silent[reason] = self._silent.get(reason, 0) + 1
                return
            self._logged_at[reason] = now
            silent = self._silent.pop(reason, 0)
        more = f" ({silent} more since the last such line)" if silent else ""
        self._log.log(level, "%s: %s%s", reason, what, more)

    def bug(self, error: Exception) -> None:
        """Count a fault of ours; its line has the traceback, so that it can be mended."""
        self.record("bug", "".join(traceback.format_exception(error)).rstrip(), logging.ERROR)


def _written(name: str, labels: dict[str, str]) -> str:
    if not labels:
        return name
    inner = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{name}{{{inner}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

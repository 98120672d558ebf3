"""What came and what it cost, by time: totals, the last minute, and a quarter of an hour in steps.

Pure: whoever calls says what time it is, in seconds of a clock that only goes forward.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Final

STEP_S: Final = 10.0
STEPS: Final = 90
"""What is kept: a quarter of an hour."""
_A_MINUTE: Final = round(60 / STEP_S)
_LATENCIES: Final = 256
"""Latencies that one step remembers, the latest."""


@dataclass(slots=True)
class Sum:
    """Frames captioned and their bytes.

    `jpeg` and `beside_jpeg` are of those frames alone whose size as JPEG is known: so that they may
    be compared.
    """

    frames: int = 0
    uplink: int = 0
    jpeg: int = 0
    beside_jpeg: int = 0

    def add(self, frames: int, uplink: int, jpeg: int | None) -> None:
        self.frames += frames
        self.uplink += uplink
        if jpeg is not None:
            self.jpeg += jpeg
            self.beside_jpeg += uplink


@dataclass(slots=True)
class _Step:
    number: int
    sum: Sum = field(default_factory=Sum)
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))


class Figures:
    """Counts frames; `now` must not fall from one call to the next."""

    def __init__(self) -> None:
        self._total = Sum()
        self._steps: deque[_Step] = deque(maxlen=STEPS)

    def frame(self, now: float, uplink: int, jpeg: int | None, latency_s: float | None) -> None:
        """A frame has got its first caption; `latency_s` None: it says nothing about the system."""
        step = self._step(now)
        for total in (self._total, step.sum):
            total.add(1, uplink, jpeg)
        if latency_s is not None:
            step.latencies_s.append(latency_s)

    def more(self, now: float, uplink: int) -> None:
        """A frame counted before has cost more bytes."""
        for total in (self._total, self._step(now).sum):
            total.add(0, uplink, None)

    def to_json(self, now: float) -> dict[str, object]:
        """Series are oldest first and end with the present step; null where nothing came."""
        self._step(now)
        present = int(now / STEP_S)
        by_number = {step.number: step for step in self._steps}
        shown = [by_number.get(present - back) for back in reversed(range(STEPS))]
        return {
            "total": asdict(self._total),
            "minute": asdict(self._last_minute(now)),
            "step_s": STEP_S,
            "bytes": [step.sum.uplink if step else 0 for step in shown],
            "latency_ms": [
                round(1e3 * statistics.median(step.latencies_s), 1)
                if step and step.latencies_s
                else None
                for step in shown
            ],
        }

    def _step(self, now: float) -> _Step:
        number = int(now / STEP_S)
        if not self._steps or self._steps[-1].number < number:
            self._steps.append(_Step(number))
        return self._steps[-1]

    def _last_minute(self, now: float) -> Sum:
        """The step in hand, the five before it, and of the sixth the part that is in the minute."""
        number, part = divmod(now / STEP_S, 1.0)
        minute = Sum()
        for step in self._steps:
            age = int(number) - step.number
            if age < _A_MINUTE:
                weight = 1.0
            elif age == _A_MINUTE:
                weight = 1.0 - part
            else:
                continue
            minute.frames += round(weight * step.sum.frames)
            minute.uplink += round(weight * step.sum.uplink)
            minute.jpeg += round(weight * step.sum.jpeg)
            minute.beside_jpeg += round(weight * step.sum.beside_jpeg)
        return minute

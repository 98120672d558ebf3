"""How long each stage of a frame's path takes, gathered between two messages of statistics."""

from __future__ import annotations

import threading


class Stages:
    """Mean and greatest seconds by stage; any thread measures, one reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, list[float]] = {}  # count, sum, greatest
        self._totals: dict[str, tuple[int, float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            count, total, greatest = self._seconds.get(stage, (0.0, 0.0, 0.0))
            self._seconds[stage] = [count + 1, total + seconds, max(greatest, seconds)]
            count, total = self._totals.get(stage, (0, 0.0))
            self._totals[stage] = (count + 1, total + seconds)

    def totals(self) -> dict[str, tuple[int, float]]:
        """How often each stage was measured since the start, and its seconds in all."""
        with self._lock:
            return dict(self._totals)

    def take(self) -> dict[str, float]:
        """`<stage>_ms` and `<stage>_max_ms` since the last call, which this one resets."""
        with self._lock:
            seconds, self._seconds = self._seconds, {}
        taken: dict[str, float] = {}
        for stage, (count, total, greatest) in sorted(seconds.items()):
            taken[f"{stage}_ms"] = round(1000 * total / count, 3)
            taken[f"{stage}_max_ms"] = round(1000 * greatest, 3)
        return taken

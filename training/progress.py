"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 20.0


class Bar:
    """Counts `total` units of work named `label`; `note` is shown beside it."""

    def __init__(self, label: str, total: int, *, start: int = 0) -> None:
        self._label, self._total, self._start = label, total, start
        self._began = self._shown = time.monotonic()
        self._rich = (
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            if sys.stderr.isatty()
            else None
        )
        self._task = (
            self._rich.add_task(label, total=total, completed=start, note="")
            if self._rich
            else None
        )

    def __enter__(self) -> Self:
        if self._rich:
            self._rich.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._rich:
            self._rich.stop()

    def show(self, done: int, note: str = "") -> None:
        """Report that `done` units are done."""
        if self._rich and self._task is not None:
            self._rich.update(self._task, completed=done, note=note)
            return
        now = time.monotonic()
        if now - self._shown < LINE_EVERY_S and done < self._total:
            return
        self._shown = now
        rate = (done - self._start) / max(now - self._began, 1e-9)
        left = (self._total - done) / max(rate, 1e-9)
        sys.stderr.write(
            f"{self._label} {done}/{self._total} {rate:.0f}/s {left:.0f}s left {note}\n"
        )
        sys.stderr.flush()

"""A daemon's thread that does one piece of work after the other. Opens nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from aiflow.common.errors import AiflowError
from aiflow.common.metrics import Counters
from aiflow.common.watchdog import Pulse

log = logging.getLogger(__name__)

T = TypeVar("T")


class WorkLoop(Generic[T]):
    """Takes work and does it until there is none; a fault costs that piece of work only."""

    def __init__(
        self,
        name: str,
        take: Callable[[], T | None],
        work: Callable[[T], None],
        counters: Counters,
    ) -> None:
        """`take` blocks until there is work, and gives nothing once its source is closed."""
        self.name = name
        self._take = take
        self._work = work
        self._counters = counters
        self._pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the work in hand, once the source is closed."""
        self._thread.join(timeout_s)

    def ask(self) -> None:
        """Want a sign of life: that the work in hand ends."""
        self._pulse.ask()

    @property
    def silent(self) -> bool:
        """Whether it has given none since, or has ended."""
        return self._pulse.silent or not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            self._pulse.rest()
            piece = self._take()
            self._pulse.work()
            if not piece:
                return
            try:
                self._work(piece)
            except AiflowError as error:
                self._failed()
                log.error("%s: %s", self.name, error)  # noqa: TRY400 - expected, no traceback
            except Exception:
                # The outermost loop of this thread.
                self._failed()
                log.exception("%s: a fault of ours", self.name)

    def _failed(self) -> None:
        self._counters.add("aiflow_faults_total", where=self.name)

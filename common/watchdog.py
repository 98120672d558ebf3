"""Whether a daemon gets on: its parts are asked, and only their answers feed the watchdog.

    ask ──> every part ── comes around ──> all have ──> WATCHDOG=1, and ask again
                                       └─> one has not: silence, and in the end a restart

The clock decides when to look, never what is said: a part answers by a turn of its own loop. The
service manager's period (`WatchdogSec=`) is the only number; nothing here has a limit of its own.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Sequence
from typing import Final, Protocol

from aiflow.common.notify import Notifier

log = logging.getLogger(__name__)

LOOKS: Final = 4
"""In a period of the watchdog; whoever hangs is seen after a quarter of it."""
STATUS_S: Final = 60.0
"""How often the status line is renewed where there is no watchdog."""


class Pulse:
    """One thread's sign of life: the thread comes around, the watchdog asks for it."""

    def __init__(self) -> None:
        self._owed = False
        self._resting = False

    def ask(self) -> None:
        """From now on the thread owes a turn."""
        self._owed = True

    def beat(self) -> None:
        """The thread has come around."""
        self._owed = False

    def rest(self) -> None:
        """The thread has come around and waits for work; until it comes nothing is owed."""
        self._resting = True
        self._owed = False

    def work(self) -> None:
        """Work has come."""
        self._resting = False

    @property
    def silent(self) -> bool:
        """Whether it was asked and has not come around since."""
        return self._owed and not self._resting


class Watched(Protocol):
    """A daemon, as its watchdog sees it."""

    def ask(self) -> None:
        """Want a sign of life from each part, and wake those that sleep."""

    def silent(self) -> Sequence[str]:
        """Names of the parts that have not given theirs since."""

    def status(self) -> str:
        """A short line for people."""


class Watchdog:
    """Waits on the main thread for the end of a daemon, and speaks for it meanwhile."""

    def __init__(self, watched: Watched, notifier: Notifier) -> None:
        self._watched = watched
        self._notifier = notifier
        self._every_s = math.inf
        if notifier.watchdog_s is not None:
            self._every_s = notifier.watchdog_s / LOOKS
        elif notifier.listened_to:
            self._every_s = STATUS_S
        self._next = time.monotonic() + self._every_s
        self._told: Sequence[str] = ()
        self._before: Sequence[str] = ()
        watched.ask()

    def wait(self, ended: queue.SimpleQueue[int], timeout_s: float = math.inf) -> bool:
        """Until something comes by the queue: True; False if nothing has after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while True:
            until = min(deadline, self._next)
            pause_s = None if until == math.inf else max(0.0, until - time.monotonic())
            try:
                ended.get(timeout=pause_s)
            except queue.Empty:
                if time.monotonic() >= self._next:
                    self._look()
                    self._next = time.monotonic() + self._every_s
                if time.monotonic() >= deadline:
                    return False
            else:
                return True

    def _look(self) -> None:
        silent = self._watched.silent()
        if silent:
            self._complain(silent)
        else:
            self._told = ()
            self._notifier.alive(self._watched.status())
            self._watched.ask()
        self._before = silent

    def _complain(self, silent: Sequence[str]) -> None:
        """Once, and not for what is only slow: it has been silent the time before as well."""
        lasting = [name for name in silent if name in self._before]
        if lasting and lasting != self._told:
            log.error("no sign of life from %s; the watchdog is not fed", ", ".join(lasting))
            self._told = lasting
        self._notifier.status(f"no sign of life from {', '.join(silent)}")

"""Waits for what a broker says of several messages that belong together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from aiflow.common.mqtt import Reason


class Acks:
    """Waits for several acks; calls `done` once: at the first failure, or when all said yes.

    `done` gets the fault in a word, or None. Any thread may answer.
    """

    def __init__(self, count: int, done: Callable[[str | None], None]) -> None:
        self._lock = threading.Lock()
        self._left = count
        self._done = done

    def acknowledged(self, reason: Reason | None) -> None:
        """For `Session.publish(on_accepted=...)`."""
        if reason is None:
            self.failed("disconnected")
        elif reason.refused:
            self.failed("refused")
        else:
            with self._lock:
                self._left -= 1
                last = self._left == 0
            if last:
                self._done(None)

    def failed(self, fault: str) -> None:
        """One of the messages will not be accepted."""
        with self._lock:
            already = self._left <= 0
            self._left = -1_000_000  # acks that still come change nothing
        if not already:
            self._done(fault)

"""Wakes a thread that waits for file descriptors."""

from __future__ import annotations

import math
import os
import select
import threading


class WakeUp:
    """One thread waits, any may wake it."""

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._lock = threading.Lock()
        self._closed = False

    def wake(self) -> None:
        """Let the present wait end, or the next one if there is none."""
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._event, 1)

    def wait(self, timeout_s: float = math.inf, descriptor: int | None = None) -> bool:
        """Until it is woken, the descriptor can be read, or the time is over; whether it can."""
        poll = select.poll()
        poll.register(self._event, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        # Rounded up: a millisecond too early would be a turn for nothing.
        timeout_ms = None if timeout_s == math.inf else math.ceil(max(0.0, timeout_s) * 1000)
        ready = [number for number, _ in poll.poll(timeout_ms)]
        if self._event in ready:
            os.eventfd_read(self._event)
        return descriptor in ready

    def close(self) -> None:
        """By the waiting thread, at its end."""
        with self._lock:
            self._closed = True
            os.close(self._event)

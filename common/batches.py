"""A bounded queue between a network thread and a working one, emptied in batches. Opens nothing.

The worker takes what has arrived, up to a batch, and never waits for more while something is there:
an idle worker answers at once, a busy one fills its batches by itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

Victim = Callable[[Sequence[T], T], int | None]
"""The policy of a full queue: given what waits, oldest first, and the newcomer, it says which
index has to go; None is the newcomer itself."""


class Batches(Generic[T]):
    """First in, first out, at most `max_waiting`; any thread may call it."""

    def __init__(self, max_waiting: int, victim: Victim[T]) -> None:
        self._max_waiting = max_waiting
        self._victim = victim
        self._changed = threading.Condition()
        self._waiting: deque[T] = deque()
        self._closed = False

    def put(self, item: T) -> T | None:
        """Add an item; returns the one that had to go, which is `item` itself once closed."""
        with self._changed:
            if self._closed:
                return item
            dropped = None
            if len(self._waiting) >= self._max_waiting:
                index = self._victim(self._waiting, item)
                if index is None:
                    return item
                dropped = self._waiting[index]
                del self._waiting[index]
            self._waiting.append(item)
            self._changed.notify()
            return dropped

    def take(self, batch_max: int) -> list[T]:
        """Block until something is there and return it, oldest first; empty once closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            count = min(batch_max, len(self._waiting))
            return [self._waiting.popleft() for _ in range(count)]

    def close(self) -> list[T]:
        """Let `take` return for good; returns what was waiting."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
            return left

    def __len__(self) -> int:
        with self._changed:
            return len(self._waiting)

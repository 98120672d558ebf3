"""Things to do later: one heap of times, and the thread that waits for the next.

Leases, receipts and statistics all end at some moment; one `Timers` serves them all, woken by a
condition, never by polling.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from operator import call

from aiflow.common.metrics import Counters
from aiflow.common.work_loop import WorkLoop

Action = Callable[[], None]


class Timers:
    """A queue of actions by due time; any thread may add one.

    It holds what its users keep outstanding, and they are bounded: one timer per escalation, per
    stream with receipts owed, and a few fixed ones. Nothing is cancelled: an action that has become
    pointless finds that out and does nothing.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._woken = threading.Condition()
        self._heap: list[tuple[float, int, Action]] = []
        self._order = itertools.count()  # equal times go in the order they came
        self._closed = False
        self.loop = WorkLoop("timers", self.wait, call, counters)

    def after(self, delay_s: float, action: Action) -> None:
        """Have `action` run `delay_s` from now; after `close` it is dropped."""
        due = self._clock() + delay_s
        with self._woken:
            if self._closed:
                return
            heapq.heappush(self._heap, (due, next(self._order), action))
            if self._heap[0][0] == due:
                self._woken.notify()

    def close(self) -> None:
        """Drop all that is left and let `wait` return None."""
        with self._woken:
            self._closed = True
            self._heap.clear()
            self._woken.notify_all()

    def wait(self) -> Action | None:
        """Block until an action is due and return it; None once closed."""
        with self._woken:
            while not self._closed:
                left = self._heap[0][0] - self._clock() if self._heap else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._heap)[2]
                self._woken.wait(left)
            return None

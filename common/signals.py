"""The end of a daemon: SIGTERM and SIGINT, caught while it serves."""

from __future__ import annotations

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def caught_signals() -> Iterator[queue.SimpleQueue[int]]:
    """Within `with`, the numbers of signals that ask for the end come by the queue.

    Main thread only. The queue is the one kind that a handler may use: an event's lock could be
    held by the very code that the handler interrupts.
    """
    caught: queue.SimpleQueue[int] = queue.SimpleQueue()

    def handler(number: int, _frame: FrameType | None) -> None:
        caught.put(number)

    previous = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield caught
    finally:
        for number, handled_before in previous.items():
            signal.signal(number, handled_before)

"""The end of a daemon: SIGTERM and SIGINT, caught while it serves."""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def caught_signals() -> Iterator[queue.SimpleQueue[int]]:
    """Within `with`, the numbers of signals that ask for the end come by the queue.

    Main thread only. A Python handler would run between two instructions of that thread, and one
    that comes just before the thread begins to wait would wait with it. So the interpreter writes
    the number to a socket, and a thread hands it on.
    """
    caught: queue.SimpleQueue[int] = queue.SimpleQueue()
    told, tells = socket.socketpair()
    os.set_blocking(tells.fileno(), False)  # set_wakeup_fd demands it
    thread = threading.Thread(target=_hand_on, args=(told, caught), name="signals", daemon=True)
    thread.start()
    wakeup = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
    previous = {number: signal.signal(number, _heard) for number in SIGNALS}
    try:
        yield caught
    finally:
        for number, handled_before in previous.items():
            signal.signal(number, handled_before)
        signal.set_wakeup_fd(wakeup)
        tells.close()
        thread.join()
        told.close()


def _heard(_number: int, _frame: FrameType | None) -> None:
    """The socket has it."""


def _hand_on(told: socket.socket, caught: queue.SimpleQueue[int]) -> None:
    while numbers := told.recv(16):
        for number in numbers:
            if number in SIGNALS:  # others may have a handler as well
                caught.put(number)

"""Between a camera's capture thread and its stream thread: the freshest frame, and orders.

capture thread ── put ──> [ one frame ] ─┐
network thread ── order ─> [ orders ] ───┴─ take ──> stream thread
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from aiflow.common.wire import RefineOrder
from aiflow.device.camera import Frame

MAX_ORDERS: Final = 16


class Slot:
    """Holds one frame; a newer one replaces it, counted in `replaced`, and gives it back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._orders: deque[RefineOrder] = deque(maxlen=MAX_ORDERS)  # the edge asks again
        self._closed = False
        self._poked = False
        self.captured = 0
        self.replaced = 0

    def put(self, frame: Frame) -> None:
        with self._changed:
            self.captured += 1
            if self._frame is not None:
                self.replaced += 1
                self._frame.release()
            self._frame = frame
            self._changed.notify()

    def order(self, order: RefineOrder) -> None:
        """Beyond `MAX_ORDERS` waiting, the oldest order is forgotten."""
        with self._changed:
            self._orders.append(order)
            self._changed.notify()

    def take(self) -> Frame | RefineOrder | None:
        """The next order, else the freshest frame, which the taker gives back.

        None when closed or poked.
        """
        with self._changed:
            self._changed.wait_for(self._ready)
            self._poked = False
            if self._closed:
                return None
            if self._orders:
                return self._orders.popleft()
            frame, self._frame = self._frame, None
            return frame

    def poke(self) -> None:
        """Wake the taker, so that it looks around."""
        with self._changed:
            self._poked = True
            self._changed.notify()

    def _ready(self) -> bool:
        return self._closed or self._poked or bool(self._orders) or self._frame is not None

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Let nobody wait any longer; an unread frame is dropped."""
        with self._changed:
            self._closed = True
            self._frame = None
            self._changed.notify_all()

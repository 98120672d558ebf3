"""Rate control: keeps a camera within its bytes a second. Pure logic on a given clock.

    bytes sent and received ──> bucket ──┬─ in debt: no frame is taken
                                         └─ low and falling: more thrift; high and rising: less

A token bucket fills at `bytes_s` and holds `BURST_S` seconds of it. A frame is charged when it is
taken, at the price of the last ones, and the difference is settled when it is sent; so what waits
out an outage has been paid for, and is sent at once afterwards. Over time the camera costs no more
than its budget, with one bucket of leeway.

Thrift comes in steps: first fewer layers, then more symbols that must have changed, doubled with
each step. A budget between two steps is used up by going to and fro between them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

BURST_S: Final = 30.0
STEP_S: Final = 5.0
"""At least so long between two changes of thrift: the effect of one must be seen first."""
MIDDLE: Final = 0.5
"""Of the bucket: below, thrift may grow, above, it may shrink,"""
FULL: Final = 0.95
"""and here there is no more to gain by it."""
MOST_DOUBLINGS: Final = 4
FIRST_PRICE: Final = 40.0
"""Bytes that a frame is thought to cost before any was sent."""
LEARNING: Final = 0.1
"""How much the price of one frame moves the price that is expected of the next."""


@dataclass(frozen=True, slots=True)
class Thrift:
    """How frames are to be taken at present."""

    layers: int
    symbols: int
    """So many must have changed."""


class Budget:
    """One camera's budget. The stream asks, the sender tells; any thread may call."""

    def __init__(self, bytes_s: float | None, *, layers: int, symbols: int, now: float) -> None:
        """`layers` and `symbols` are those without thrift; without `bytes_s` there is none."""
        self._bytes_s = bytes_s
        self._steps = _steps(layers, symbols)
        self._lock = threading.Lock()
        self._size = BURST_S * (bytes_s or 0.0)
        self._level = self._size
        self._filled_at = now
        self._price = FIRST_PRICE
        self._spent = 0
        self._told_at = now
        self._withheld = 0
        self._step = 0
        self._looked_at = now  # what follows is as it was then
        self._looked_level = self._level
        self._looked_withheld = 0

    @property
    def thrift(self) -> Thrift:
        return self._steps[self._step]

    def allows(self, now: float) -> bool:
        """Whether another frame may be taken; if not, it is withheld, and counted."""
        if self._bytes_s is None:
            return True
        with self._lock:
            self._fill(self._bytes_s, now)
            self._adjust(now)
            if self._level >= 0:
                return True
            self._withheld += 1
            return False

    def taken(self) -> None:
        """A frame was taken."""
        with self._lock:
            self._level -= self._price

    def sent(self, size_bytes: int) -> None:
        """A frame that was taken is sent for the first time."""
        with self._lock:
            self._spent += size_bytes
            self._level -= size_bytes - self._price
            self._price += LEARNING * (size_bytes - self._price)

    def spend(self, size_bytes: int) -> None:
        """Anything else on the camera's behalf: sent again, refined, a receipt."""
        with self._lock:
            self._spent += size_bytes
            self._level -= size_bytes

    def stats(self, now: float) -> dict[str, int | float]:
        """What was spent since the last call, and what is done to keep the budget."""
        with self._lock:
            elapsed_s = max(now - self._told_at, 1e-9)
            spent, self._spent, self._told_at = self._spent, 0, now
            stats: dict[str, int | float] = {"bytes_s": round(spent / elapsed_s, 2)}
            if self._bytes_s is not None:
                stats |= {
                    "budget_bytes_s": self._bytes_s,
                    "budget_left": round(self._level / self._size, 3),
                    "layers": self.thrift.layers,
                    "symbols": self.thrift.symbols,
                    "withheld": self._withheld,
                }
            return stats

    def _fill(self, bytes_s: float, now: float) -> None:
        elapsed_s, self._filled_at = max(0.0, now - self._filled_at), now
        self._level = min(self._size, self._level + elapsed_s * bytes_s)

    def _adjust(self, now: float) -> None:
        if now - self._looked_at < STEP_S:
            return
        level, share = self._level, self._level / self._size
        falling = level < self._looked_level or self._withheld > self._looked_withheld
        if share < MIDDLE and falling:
            self._step = min(self._step + 1, len(self._steps) - 1)
        elif share > MIDDLE and (not falling or share > FULL):
            self._step = max(self._step - 1, 0)
        self._looked_at, self._looked_level, self._looked_withheld = now, level, self._withheld


def _steps(layers: int, symbols: int) -> tuple[Thrift, ...]:
    fewer = [Thrift(each, symbols) for each in range(layers, 0, -1)]
    more = [Thrift(1, max(symbols, 1) << doubled) for doubled in range(1, MOST_DOUBLINGS + 1)]
    return (*fewer, *more)

"""A mean that forgets: what something has been lately. Values of one unit, one thread at a time."""

from __future__ import annotations

from typing import Final

LEARNING: Final = 0.25
"""How much one measurement moves a mean."""


class Mean:
    """Exponentially weighted; `value` is the start's, or None, before the first measurement."""

    def __init__(self, start: float | None = None) -> None:
        self.value = start

    def add(self, value: float) -> None:
        self.value = value if self.value is None else self.value + LEARNING * (value - self.value)

    def known(self, otherwise: float = 0.0) -> float:
        """The value, or what to take where nothing has been measured."""
        return otherwise if self.value is None else self.value

"""What a crossing of a link took, beside what it should have taken."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

HEADING: Final = "link            bytes  computed  measured  worst error"


@dataclass(frozen=True, slots=True)
class Crossing:
    """Messages of one size over one link, one after another; median of `repeats`."""

    link: str
    size_bytes: int
    repeats: int
    computed_s: float
    measured_s: float
    worst_error_s: float

    @classmethod
    def of(cls, link: str, size_bytes: int, computed_s: float, took_s: Sequence[float]) -> Self:
        worst_s = max(abs(each - computed_s) for each in took_s)
        return cls(link, size_bytes, len(took_s), computed_s, statistics.median(took_s), worst_s)

    def tell(self, say: Callable[[str], None]) -> None:
        """As a line below `HEADING`."""
        say(
            f"{self.link:15} {self.size_bytes:6,} {self.computed_s * 1e3:6.1f} ms"
            f" {self.measured_s * 1e3:6.1f} ms    {self.worst_error_s * 1e3:6.2f} ms"
        )

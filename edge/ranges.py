"""Sets of sequence numbers, kept as few ranges. A leaf: no input or output."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]
"""First and last number, both included."""


class Ranges:
    """Sorted ranges that neither overlap nor touch.

    Beyond `limit` ranges the lowest one is forgotten: what it held counts as never seen. Forgetting
    a frame costs a second caption at worst; filling a gap instead would lose the frames in it.
    """

    def __init__(self, limit: int, ranges: Iterable[Range] = ()) -> None:
        self._limit = limit
        self._ranges: list[Range] = []
        for first, last in sorted(ranges):
            self._insert(first, last)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._ranges, number, key=_first) - 1
        return index >= 0 and number <= self._ranges[index][1]

    def __iter__(self) -> Iterator[Range]:
        return iter(self._ranges)

    def __len__(self) -> int:
        return len(self._ranges)

    @property
    def last(self) -> int | None:
        """The greatest number; None when empty."""
        return self._ranges[-1][1] if self._ranges else None

    def add(self, number: int) -> None:
        if number not in self:
            self._insert(number, number)

    def _insert(self, first: int, last: int) -> None:
        """Put in one range and join it with all that it overlaps or touches."""
        low = bisect_right(self._ranges, first, key=_first)
        if low > 0 and self._ranges[low - 1][1] >= first - 1:
            low -= 1
        high = bisect_right(self._ranges, last + 1, key=_first)
        joined = self._ranges[low:high]
        if joined:
            first = min(first, joined[0][0])
            last = max(last, joined[-1][1])
        self._ranges[low:high] = [(first, last)]
        del self._ranges[: -self._limit]


def _first(span: Range) -> int:
    return span[0]

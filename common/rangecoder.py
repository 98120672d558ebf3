"""Integer range coder with a body of canonical, least length.

After G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised
message" (1979). The state is an interval [low, low + width) of a number line of `size` bytes;
each symbol keeps the part of it that its cumulative counts [cum_low, cum_high) of total say:

    unit = width // total
    low, width = low + unit * cum_low, unit * (cum_high - cum_low)
    while width < 2**24:  append a zero byte to low and to width

`low` is one Python integer of any length, so a carry needs no care. The body is the shortest
string of bytes that, read as a number with zeros appended without end, lies in the final
interval; among those of equal length the smallest. Every message has exactly one body, and the
decoder accepts no other. Integers only: two machines never differ.
"""

from __future__ import annotations

from typing import Final

from aiflow.common.errors import PayloadMalformed

MAX_TOTAL: Final = 2**15
"""Of the counts of one table row; keeps `unit` at 2**9 or more."""

_START_WIDTH: Final = 2**32 - 1
_START_BYTES: Final = 4
_LEAST_WIDTH: Final = 2**24


class RangeEncoder:
    """Takes intervals of cumulative counts, gives the body."""

    __slots__ = ("_low", "_size", "_width")

    def __init__(self) -> None:
        self._low = 0
        self._width = _START_WIDTH
        self._size = _START_BYTES

    def encode(self, cum_low: int, cum_high: int, total: int) -> None:
        """Narrow to [cum_low, cum_high) of total; 0 <= cum_low < cum_high <= total <= 2**15."""
        unit = self._width // total
        low = self._low + unit * cum_low
        width = unit * (cum_high - cum_low)
        while width < _LEAST_WIDTH:
            low <<= 8
            width <<= 8
            self._size += 1
        self._low = low
        self._width = width

    def finish(self) -> bytes:
        return _shortest(self._low, self._width, self._size)


class RangeDecoder:
    """Reads a body: per symbol `target`, a look into the table, then `consume`; at last `finish`.

    Past the end of the body it reads zeros, so the number of symbols must be known.
    """

    __slots__ = ("_body", "_offset", "_size", "_width")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._offset = int.from_bytes(body[:_START_BYTES].ljust(_START_BYTES, b"\0"), "big")
        self._width = _START_WIDTH
        self._size = _START_BYTES

    def target(self, total: int) -> int:
        """A count in [0, total) that lies in the next symbol's [cum_low, cum_high)."""
        count = self._offset // (self._width // total)
        if count >= total:
            raise PayloadMalformed("body points outside its tables")
        return count

    def consume(self, cum_low: int, cum_high: int, total: int) -> None:
        """Narrow as the encoder did."""
        unit = self._width // total
        offset = self._offset - unit * cum_low
        width = unit * (cum_high - cum_low)
        while width < _LEAST_WIDTH:
            byte = self._body[self._size] if self._size < len(self._body) else 0
            offset = offset << 8 | byte
            width <<= 8
            self._size += 1
        self._offset = offset
        self._width = width

    def finish(self) -> None:
        """Raise PayloadMalformed unless the body is the one that the encoder would have made.

        The encoder's low is the body's number less the offset in the interval; from it the
        canonical body follows without coding again.
        """
        missing = self._size - len(self._body)
        if missing < 0:
            raise PayloadMalformed(f"body is {-missing} bytes too long")
        low = (int.from_bytes(self._body, "big") << 8 * missing) - self._offset
        if _shortest(low, self._width, self._size) != self._body:
            raise PayloadMalformed("body is not in its shortest form")


def _shortest(low: int, width: int, size: int) -> bytes:
    """Leading bytes of the `size`-byte number in [low, low + width) with most trailing zeros.

    Some multiple of 2**s lies in (low - 1, low + width - 1] exactly if the two ends, shifted
    right by s, differ; the highest such s is the highest bit in which they differ.
    """
    if low == 0:
        return b""
    differing = (low - 1) ^ (low + width - 1)
    dropped = (differing.bit_length() - 1) // 8
    return (((low - 1) >> 8 * dropped) + 1).to_bytes(size - dropped, "big")

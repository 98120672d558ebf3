"""Fields of the binary messages: bounded reading and writing of numbers, names and lengths."""

from __future__ import annotations

from typing import Final

from aiflow.common.errors import PayloadMalformed, PayloadTruncated, UnknownVersion

VERSION: Final = 1
"""Of the wire format: the high nibble of every message's first byte."""
MAX_NAME_BYTES: Final = 64
"""Of a device, a camera, a node or a pool, as UTF-8."""


def varint(value: int, limit: int, what: str) -> bytes:
    """Write an unsigned LEB128 number; PayloadMalformed unless 0 <= value < limit."""
    if not 0 <= value < limit:
        raise PayloadMalformed(f"{what} {value} is not in 0..{limit - 1}")
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def name(value: str, what: str) -> bytes:
    """Write a name of 1 to 64 bytes of UTF-8, its length in front."""
    encoded = name_bytes(value, what)
    return bytes([len(encoded)]) + encoded


def name_bytes(value: str, what: str) -> bytes:
    """UTF-8 of a name; PayloadMalformed if it is empty, too long or holds a NUL."""
    try:
        encoded = value.encode()
    except UnicodeEncodeError as error:
        raise PayloadMalformed(f"{what} {value!r} is not Unicode") from error
    if not 1 <= len(encoded) <= MAX_NAME_BYTES or 0 in encoded:
        raise PayloadMalformed(f"{what} {value!r} is not a name of 1 to {MAX_NAME_BYTES} bytes")
    return encoded


def first_byte(kind: int) -> bytes:
    """Write version and kind."""
    return bytes([VERSION << 4 | kind])


def kind_of(payload: bytes) -> int:
    """The number of the kind in the first byte of a message that is not empty; nothing checked."""
    return payload[0] & 0x0F


def check_version(payload: bytes) -> int:
    """Return the kind in the first byte; UnknownVersion, or PayloadTruncated if there is none."""
    if not payload:
        raise PayloadTruncated("an empty message")
    if payload[0] >> 4 != VERSION:
        raise UnknownVersion(f"wire version {payload[0] >> 4}; this end speaks {VERSION}")
    return kind_of(payload)


class Reader:
    """Reads fields in turn; what is missing is PayloadTruncated, what is wrong PayloadMalformed."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    @classmethod
    def of(cls, payload: bytes, kind: int, max_bytes: int, what: str) -> Reader:
        """Open a whole message of `kind`; the reader stands after its first byte."""
        if len(payload) > max_bytes:
            raise PayloadMalformed(f"{what} of {len(payload)} bytes; at most {max_bytes}")
        if check_version(payload) != kind:
            raise PayloadMalformed(f"kind {kind_of(payload)} is no {what}")
        return cls(payload, 1)

    def at_end(self) -> bool:
        return self._at == len(self._data)

    def end(self) -> None:
        if not self.at_end():
            raise PayloadMalformed(f"{len(self._data) - self._at} bytes too many")

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at, "rest")

    def take(self, count: int, what: str) -> bytes:
        start, self._at = self._at, self._at + count
        if self._at > len(self._data):
            raise PayloadTruncated(f"ends within its {what}")
        return self._data[start : self._at]

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    def varint(self, limit: int, what: str, least: int = 0) -> int:
        """Read an unsigned LEB128 number of at least `least` and below `limit`.

        It must be written in the fewest bytes: one value has one spelling.
        """
        value = shift = 0
        while True:
            byte = self.byte(what)
            value |= (byte & 0x7F) << shift
            if value >= limit:
                raise PayloadMalformed(f"{what} is not below {limit}")
            if byte < 0x80:
                break
            shift += 7
            if 1 << shift >= limit:
                raise PayloadMalformed(f"{what} is not below {limit}")
        if value < least or (byte == 0 and shift > 0):
            raise PayloadMalformed(f"{what} is too small or not written in the fewest bytes")
        return value

    def name(self, what: str) -> str:
        encoded = self.take(self.varint(MAX_NAME_BYTES + 1, f"{what} length", least=1), what)
        return utf8(encoded, what, nul=False)


def utf8(encoded: bytes, what: str, *, nul: bool = True) -> str:
    """Read UTF-8; PayloadMalformed if it is none, or holds a NUL where none may be."""
    try:
        text = encoded.decode()
    except UnicodeDecodeError as error:
        raise PayloadMalformed(f"{what} is not UTF-8") from error
    if not nul and "\0" in text:
        raise PayloadMalformed(f"{what} holds a NUL")
    return text

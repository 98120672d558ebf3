"""Pictures out of a stream of parts, as network cameras send it over HTTP (motion JPEG).

    --boundary CRLF  headers CRLF CRLF  picture CRLF  --boundary ...

Much of that may be missing or wrong: the first boundary, the headers, the length, dashes too many.
What counts are the JPEG's own marks, its length where it is true, and the boundary after damage.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

MAX_PART_BYTES: Final = 16 * 1024 * 1024
MAX_STRAY_BYTES: Final = 65_536
"""So much between two parts is a part that is damaged."""
MAX_LINE_BYTES: Final = 256
_START: Final = b"\xff\xd8\xff"
_END: Final = b"\xff\xd9"
_PICTURES: Final = (_START, b"\x89PNG", b"RIFF", b"GIF8", b"BM")
_SURE: Final = 6
"""A boundary of so many bytes does not stand in a picture by chance."""
_HEADER: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]*[ \t]*:")
_NAME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9-]*[ \t]*")
_LENGTH: Final = re.compile(rb"(?im)^content-length[ \t]*:[ \t]*([0-9]{1,9})[ \t]*\r?$")


class MultipartReader:
    """The parts of one stream, bad ones among them; see `whole`."""

    def __init__(self, read: Callable[[], bytes], boundary: str = "") -> None:
        """`read` waits for some bytes, and gives none at the end; `boundary` as it is declared."""
        name = boundary.strip().strip('"').lstrip("-").encode("latin-1", "replace")
        self._delimiter = b"--" + name if name else b""
        self._read = read
        self._data = bytearray()
        self._begun = False  # a boundary is behind us, and no part yet

    def __iter__(self) -> Iterator[bytes]:
        """Each part as soon as it is there; what is no part comes as an empty one."""
        while self._at_part():
            part = self._part()
            if part is None:
                return
            yield part

    def _more(self) -> bool:
        data = self._read()
        self._data += data
        return bool(data)

    def _at_part(self) -> bool:
        """Leave blank lines and boundaries behind; False at the end."""
        while True:
            stripped = self._data.lstrip(b"\r\n")
            del self._data[: len(self._data) - len(stripped)]
            if len(self._data) < len(_START):
                if not self._more():
                    return False
            elif not self._data.startswith(b"--") or (self._begun and self._at_boundary()):
                return True
            elif (end := self._data.find(b"\n", 0, MAX_LINE_BYTES)) >= 0:
                line = bytes(self._data[:end]).rstrip()
                if not self._delimiter or self._delimiter not in line:
                    self._delimiter = line
                del self._data[: end + 1]
                self._begun = True
            elif len(self._data) >= MAX_LINE_BYTES:
                return True
            elif not self._more():
                return False

    def _at_boundary(self) -> bool:
        return bool(self._delimiter) and self._data.startswith(self._delimiter)

    def _part(self) -> bytes | None:
        """What begins here, without its headers; None at the end."""
        self._begun = False
        if self._at_boundary():  # an empty one
            return b""
        length = self._headers()
        while True:
            end = self._end(length)
            if end is not None:
                part = bytes(self._data[:end])
                del self._data[:end]
                return part.rstrip(b"\r\n") if not part.startswith(_START) else part
            if len(self._data) > self._most():
                del self._data[:-MAX_LINE_BYTES]
                return b""
            if not self._more():
                return None

    def _most(self) -> int:
        return MAX_PART_BYTES if self._data.startswith(_PICTURES) else MAX_STRAY_BYTES

    def _headers(self) -> int | None:
        """Leave a part's headers behind; the length that they give."""
        while not self._data.startswith(_PICTURES):
            if not _HEADER.match(self._data):
                begins = _NAME.fullmatch(self._data) and len(self._data) < MAX_LINE_BYTES
                if begins and self._more():
                    continue
                return None
            blank = re.search(rb"\r?\n\r?\n", self._data[:MAX_STRAY_BYTES])
            if blank is not None:
                length = _LENGTH.search(self._data[: blank.end()])
                del self._data[: blank.end()]
                return int(length[1]) if length else None
            if len(self._data) >= MAX_STRAY_BYTES or not self._more():
                return None
        return None

    def _end(self, length: int | None) -> int | None:
        """Where the part ends, as far as can be seen by now."""
        jpeg = self._data.startswith(_START)
        if length and length <= len(self._data) and (not jpeg or self._ends_at(length)):
            return length
        own = jpeg_end(self._data) if jpeg else None
        boundary = self._boundary()
        if not jpeg and boundary is None:
            boundary = _found(self._data.find(_START))
        ends = [end for end in (own, boundary) if end is not None]
        return min(ends, default=None)

    def _ends_at(self, length: int) -> bool:
        return self._data[max(0, length - 1024) : length].rstrip(b"\0\r\n").endswith(_END)

    def _boundary(self) -> int | None:
        if len(self._delimiter) >= _SURE:
            return _found(self._data.find(self._delimiter))
        return _found(self._data.find(b"\n" + self._delimiter)) if self._delimiter else None


def whole(part: bytes) -> bool:
    """Whether a part looks like a picture from its beginning to its end."""
    if part.startswith(_START):
        return part[-1024:].rstrip(b"\0\r\n").endswith(_END)
    return part.startswith(_PICTURES)


def jpeg_end(data: bytes | bytearray) -> int | None:
    """Behind the end mark of a JPEG, whose thumbnail has one, too; None if it is not there yet."""
    at = 2
    while data[at : at + 1] == b"\xff" and len(data) >= at + 4:
        if data[at + 1] == 0xDA:  # the scan: in it 0xFF is escaped
            end = _found(data.find(_END, at))
            return None if end is None else end + len(_END)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _found(at: int) -> int | None:
    return at if at >= 0 else None

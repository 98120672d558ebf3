"""What a synthetic camera knows about its frames, read beside the wire from a file it writes.

One JSON object a line: `timestamp_ms` (capture time), `facts` (lists of strings) and `jpeg_bytes`
(the full frame at quality 75). Nothing of it travels through the system that is measured.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiflow.street.scene import Fact

_KEPT: Final = 20_000
_CLOCK_MS: Final = 2
"""Capture times on the wire are whole milliseconds since the epoch of the stream."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One frame: the facts that are true of it, and its size as JPEG."""

    facts: frozenset[Fact]
    jpeg_bytes: int


class TruthFile:
    """Follows the file as it grows; the file need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._frames: OrderedDict[int, Truth] = OrderedDict()

    def at(self, timestamp_s: float) -> Truth | None:
        """The frame captured then; None when the camera has not told of one."""
        wanted = round(timestamp_s * 1000)
        known = self._near(wanted)
        if known is None:
            self._read_on()
            known = self._near(wanted)
        return known

    def _near(self, wanted_ms: int) -> Truth | None:
        for away_ms in range(_CLOCK_MS + 1):
            for timestamp_ms in (wanted_ms - away_ms, wanted_ms + away_ms):
                if timestamp_ms in self._frames:
                    return self._frames[timestamp_ms]
        return None

    def _read_on(self) -> None:
        """Take the whole lines that were added; the last may still be in the writing."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            return
        whole, newline, _ = added.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        for line in whole.splitlines():
            frame = json.loads(line)
            facts = frozenset(tuple(fact) for fact in frame["facts"])
            self._frames[int(frame["timestamp_ms"])] = Truth(facts, int(frame["jpeg_bytes"]))
            if len(self._frames) > _KEPT:
                self._frames.popitem(last=False)

"""Pictures of a synthetic camera, from the folder in which it leaves them. Reads only.

A file is called after its capture time, `<milliseconds>.jpg`. Nothing else is ever served: a name
is made here from a number, never taken from a request.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_CLOCK_MS: Final = 2
"""Capture times on the wire are whole milliseconds since the epoch of the stream."""


class Pictures:
    """The folder; it need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at(self, timestamp_ms: int) -> Path | None:
        """The picture taken then, if it is still kept."""
        for away_ms in range(_CLOCK_MS + 1):
            for name_ms in (timestamp_ms - away_ms, timestamp_ms + away_ms):
                path = self._folder / f"{name_ms}.jpg"
                if path.is_file():
                    return path
        return None

    def size(self, timestamp_s: float) -> int | None:
        """Bytes of that picture."""
        path = self.at(round(timestamp_s * 1000))
        try:
            return None if path is None else path.stat().st_size
        except OSError:
            return None

"""The ledger: which frames this node has captioned, on disk. Touches one SQLite file.

A device sends a frame again until a receipt covers it, across restarts of both ends. The ledger is
how a node that was killed still knows what it had captioned, so that nobody reads a caption twice.

Each mark is one transaction in write-ahead mode. It survives kill -9 of this process; a power cut
may take the last few marks (`synchronous=NORMAL`), which costs second captions under the same id
and never a frame.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from aiflow.common.state_file import StateFile
from aiflow.edge.ranges import Range, Ranges
from aiflow.edge.received import FrameKey, StreamKey

if TYPE_CHECKING:
    from types import TracebackType

LOCK_WAIT_S: Final = 2.0
"""How long a restarted node waits for its predecessor to let go of the file."""

MIGRATIONS: Final = (
    """
    CREATE TABLE IF NOT EXISTS captioned (
        device TEXT NOT NULL,
        camera TEXT NOT NULL,
        epoch_ms INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (device, camera, epoch_ms, first)
    ) WITHOUT ROWID
    """,
)
_DELETE: Final = "DELETE FROM captioned WHERE device=? AND camera=? AND epoch_ms=? AND first=?"
_INSERT: Final = "INSERT OR REPLACE INTO captioned VALUES (?, ?, ?, ?, ?)"
_FORGET: Final = "DELETE FROM captioned WHERE device=? AND camera=? AND epoch_ms=?"


class Ledger:
    """Ranges of captioned sequences per stream, in memory and on disk.

    Bounded: at most `max_streams` streams (the one marked longest ago is forgotten) of at most
    `max_ranges` ranges each (the lowest is forgotten). One process at a time has it open.
    """

    def __init__(self, path: Path, *, max_streams: int = 4096, max_ranges: int = 256) -> None:
        """Open or create the file at `path`; raises StorageError when that cannot be done.

        A corrupt file is put aside, with a warning, and an empty ledger begun: the node must come
        up without a hand, and the cost is a few second captions.
        """
        self._max_streams = max_streams
        self._max_ranges = max_ranges
        self._lock = threading.Lock()  # over the memory
        self._writing = threading.Lock()  # over the file
        self._streams: OrderedDict[StreamKey, Ranges] = OrderedDict()
        # Exclusive: two nodes on one ledger would each hide frames from the other.
        self._file = StateFile(
            path,
            "ledger",
            MIGRATIONS,
            doctor="aiflow doctor edge",
            durable=False,
            exclusive=True,
            wait_s=LOCK_WAIT_S,
        )
        self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __contains__(self, frame: FrameKey) -> bool:
        with self._lock:
            ranges = self._streams.get(frame.stream)
            return ranges is not None and frame.sequence in ranges

    def newest(self) -> dict[tuple[str, str], FrameKey]:
        """The newest captioned frame of each (device, camera), of the session marked last."""
        with self._lock:
            return {
                stream[:2]: FrameKey(stream, ranges.last)
                for stream, ranges in self._streams.items()
                if ranges.last is not None
            }

    def mark(self, frames: Iterable[FrameKey]) -> None:
        """Remember frames as captioned, in one transaction.

        Raises StorageError when the file cannot be written; memory knows the frames even then, and
        the next mark of the same stream writes them along.
        """
        gone: list[tuple[str, str, int, int]] = []
        new: list[tuple[str, str, int, int, int]] = []
        with self._writing:
            with self._lock:
                by_stream: dict[StreamKey, list[int]] = {}
                for frame in frames:
                    by_stream.setdefault(frame.stream, []).append(frame.sequence)
                for stream, sequences in by_stream.items():
                    removed, added = self._add(stream, sequences)
                    gone += [(*stream, first) for first, _ in removed]
                    new += [(*stream, first, last) for first, last in added]
                forgotten = self._forget()
            with self._file.writing() as database:
                database.executemany(_DELETE, gone)
                database.executemany(_INSERT, new)
                database.executemany(_FORGET, forgotten)

    def close(self) -> None:
        with self._writing:
            self._file.close()

    def _add(self, stream: StreamKey, sequences: list[int]) -> tuple[set[Range], set[Range]]:
        ranges = self._streams.setdefault(stream, Ranges(self._max_ranges))
        self._streams.move_to_end(stream)
        before = set(ranges)
        for sequence in sequences:
            ranges.add(sequence)
        after = set(ranges)
        return before - after, after - before

    def _forget(self) -> list[StreamKey]:
        surplus = len(self._streams) - self._max_streams
        return [self._streams.popitem(last=False)[0] for _ in range(surplus)]

    def _load(self) -> None:
        found: dict[StreamKey, list[Range]] = {}
        query = "SELECT device, camera, epoch_ms, first, last FROM captioned"
        with self._file.reading() as database:
            rows = database.execute(query).fetchall()
        for device, camera, epoch_ms, first, last in rows:
            found.setdefault(StreamKey(device, camera, epoch_ms), []).append((first, last))
        # Which stream was marked last is not on disk; its session's start says nearly the same.
        for stream in sorted(found, key=lambda key: key.epoch_ms):
            self._streams[stream] = Ranges(self._max_ranges, found[stream])

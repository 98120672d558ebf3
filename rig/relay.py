"""The inside of a link: a TCP relay on one event loop. Times are seconds of the link's own clock.

One connection has two pipes, one in each direction; the pipes of a direction share a lane:

    reader -> lane.arrival() -> chunks under way (bounded) -> wait until due -> writer
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Final

CHUNK_BYTES: Final = 1460
"""An Ethernet frame's worth of TCP payload: no message waits for more than that of another."""
BUFFER_BYTES: Final = 16_384
"""What may queue before a slow line, per connection; then its sender is held back."""
UNLIMITED_BUFFER_BYTES: Final = 4_194_304


@dataclass(slots=True)
class Lane:
    """One direction of the link, shared by its connections."""

    rate_bytes_s: float | None
    delay_s: float
    total_bytes: int = 0
    _free_at: float = 0.0

    @property
    def buffer_bytes(self) -> float:
        """What one connection may have under way: the line's buffer, and what is in the air."""
        if self.rate_bytes_s is None:
            return UNLIMITED_BUFFER_BYTES
        return BUFFER_BYTES + self.rate_bytes_s * self.delay_s

    def arrival(self, size_bytes: int, now: float) -> float:
        """When a chunk handed over `now` reaches the far end; takes its place on the line."""
        self.total_bytes += size_bytes
        serial_s = size_bytes / self.rate_bytes_s if self.rate_bytes_s else 0.0
        self._free_at = max(now, self._free_at) + serial_s
        return self._free_at + self.delay_s


class LinkClock:
    """Seconds on the event loop's clock, standing still while the link is cut."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stalled_s = 0.0
        self._cut_at: float | None = None
        self._running = asyncio.Event()
        self._running.set()

    def now(self) -> float:
        real = self._loop.time() if self._cut_at is None else self._cut_at
        return real - self._stalled_s

    def stop(self) -> None:
        if self._cut_at is None:
            self._cut_at = self._loop.time()
            self._running.clear()

    def go_on(self) -> None:
        if self._cut_at is not None:
            self._stalled_s += self._loop.time() - self._cut_at
            self._cut_at = None
            self._running.set()

    async def until(self, due: float) -> None:
        """Return when the link runs and its time is `due` or later."""
        await self._running.wait()
        while (left_s := due - self.now()) > 0:
            await asyncio.sleep(left_s)
            await self._running.wait()


@dataclass(slots=True)
class _Underway:
    """Chunks of one pipe with their times of arrival, bounded; an empty one ends the stream."""

    limit_bytes: float
    chunks: deque[tuple[float, bytes]] = field(default_factory=deque)
    held_bytes: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def room(self) -> None:
        while self.held_bytes >= self.limit_bytes:
            self.changed.clear()
            await self.changed.wait()

    def put(self, due: float, chunk: bytes) -> None:
        self.chunks.append((due, chunk))
        self.held_bytes += len(chunk)
        self.changed.set()

    async def first(self) -> tuple[float, bytes]:
        while not self.chunks:
            self.changed.clear()
            await self.changed.wait()
        return self.chunks[0]

    def drop_first(self) -> None:
        self.held_bytes -= len(self.chunks.popleft()[1])
        self.changed.set()


class Relay:
    """Accepts on a free loopback port and passes on to `upstream`. Make it inside its loop."""

    def __init__(self, upstream: tuple[str, int], rate_bytes_s: float | None, rtt_s: float) -> None:
        self.up = Lane(rate_bytes_s, rtt_s / 2)
        self.down = Lane(rate_bytes_s, rtt_s / 2)
        self._upstream = upstream
        self._rtt_s = rtt_s
        self._clock = LinkClock()
        self._refusing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Begin to accept; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=CHUNK_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, *, reset: bool) -> None:
        self._clock.stop()
        self._refusing = reset
        if reset:
            for task in self._tasks:
                task.cancel()

    def heal(self) -> None:
        self._refusing = False
        self._clock.go_on()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refusing:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its opening to its end; a fault of either end ends both."""
        ends = [writer]
        whole = False
        try:
            # TCP's handshake: the first byte leaves one round trip after the client's SYN.
            await self._clock.until(self._clock.now() + self._rtt_s)
            far_reader, far_writer = await asyncio.open_connection(
                *self._upstream, limit=CHUNK_BYTES
            )
            ends.append(far_writer)
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(self._pipe(reader, far_writer, self.up))
                pipes.create_task(self._pipe(far_reader, writer, self.down))
            whole = True
        except* OSError:
            pass  # refused or reset by one end: the other one sees its connection aborted
        finally:
            for end in ends:
                end.close() if whole else end.transport.abort()

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        lane: Lane,
    ) -> None:
        writer.transport.set_write_buffer_limits(BUFFER_BYTES)
        underway = _Underway(lane.buffer_bytes)
        async with asyncio.TaskGroup() as halves:
            halves.create_task(self._take(reader, underway, lane))
            halves.create_task(self._hand_over(underway, writer))

    async def _take(self, reader: asyncio.StreamReader, underway: _Underway, lane: Lane) -> None:
        while True:
            await underway.room()
            try:
                chunk = await reader.read(CHUNK_BYTES)
            except OSError:
                chunk = b""  # a reset ends the stream too; what came before it is handed over
            underway.put(lane.arrival(len(chunk), self._clock.now()), chunk)
            if not chunk:
                return

    async def _hand_over(self, underway: _Underway, writer: asyncio.StreamWriter) -> None:
        while True:
            due, chunk = await underway.first()
            await self._clock.until(due)
            if not chunk:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            writer.write(chunk)
            await writer.drain()
            underway.drop_first()

"""From the far end of a packet-level link to the broker: takes connections there, makes them here.

    client ... TCP over the link ... gateway --- TCP of the broker's own machine --- broker

A listener stays in the network namespace in which it was made, so the gateway itself need not
enter it. It reads no further ahead than its writers keep up, so that a slow end is felt by the
other one as it is through one connection.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Literal

CHUNK_BYTES: Final = 65_536

Way = Literal["up", "down"]


class Gateway:
    """Make it inside its loop. `payload_bytes` counts what has come from clients and for them."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.payload_bytes: dict[Way, int] = {"up": 0, "down": 0}
        self.connections = 0
        """So many have been accepted."""
        self._upstream = upstream
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Begin to accept. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, sock=listener)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its opening to its end; a fault of either end ends both."""
        ends = [writer]
        whole = False
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
            ends.append(far_writer)
            async with asyncio.TaskGroup() as pipes:
                pipes.create_task(self._pipe(reader, far_writer, "up"))
                pipes.create_task(self._pipe(far_reader, writer, "down"))
            whole = True
        except* OSError:
            pass  # refused or reset by one end: the other one sees its connection aborted
        finally:
            for end in ends:
                end.close() if whole else end.transport.abort()

    async def _pipe(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            self.payload_bytes[way] += len(chunk)
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()

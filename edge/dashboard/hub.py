"""Messages to all browsers, each with a bounded queue. One event loop's; no network in here.

A browser that is too slow for the messages loses them, and is given everything anew when it reads
again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

MAX_CLIENTS: Final = 32
MAX_QUEUED: Final = 64
"""Messages; with at most ten a second, a browser may look away for some seconds."""


class Client:
    """One browser's queue; it begins with everything."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._woken = asyncio.Event()
        self._anew = True
        self._ended = False
        self._woken.set()

    async def next(self) -> bytes | None:
        """The next message; b"" when everything must be sent anew; None at the end."""
        await self._woken.wait()
        if self._ended:
            return None
        message = b"" if self._anew else self._queue.popleft()
        self._anew = False
        if not self._queue:
            self._woken.clear()
        return message

    def put(self, message: bytes) -> None:
        if self._anew:  # what it is going to be given holds this already
            return
        if len(self._queue) >= MAX_QUEUED:
            self._queue.clear()
            self._anew = True
        else:
            self._queue.append(message)
        self._woken.set()

    def end(self) -> None:
        self._ended = True
        self._woken.set()


class Hub:
    """The browsers that are connected."""

    def __init__(self) -> None:
        self.clients: set[Client] = set()

    def join(self) -> Client | None:
        """A new one; None when there are too many."""
        if len(self.clients) >= MAX_CLIENTS:
            return None
        client = Client()
        self.clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        self.clients.discard(client)

    def broadcast(self, message: bytes) -> None:
        for client in self.clients:
            client.put(message)

    def close(self) -> None:
        """End all of them."""
        for client in self.clients:
            client.end()

"""The dashboard as a part of an edge node: one listening socket, one thread with an event loop.

network thread    what was heard -> the feed's inbox
dashboard thread  inbox -> board -> hub -> browsers
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp

from aiflow.common.metrics import Counters
from aiflow.common.topics import Topics
from aiflow.edge.dashboard.board import Board
from aiflow.edge.dashboard.config import DashboardConfig
from aiflow.edge.dashboard.feed import BrowserFeed
from aiflow.edge.dashboard.hub import Hub
from aiflow.edge.dashboard.pages import application
from aiflow.edge.dashboard.pictures import Pictures

log = logging.getLogger(__name__)

SILENT_S: Final = 60.0
"""The kernel ends the connection of a browser that has taken nothing for so long."""
SEND_BUFFER: Final = 262_144
"""Bytes that the kernel holds for one browser that does not read."""
CLOSE_S: Final = 3.0
_GRACE_S: Final = 1


class Dashboard:
    """Serves from `start` to `close`; used with `with`. `heard` takes what comes by MQTT."""

    def __init__(
        self,
        config: DashboardConfig,
        token: str | None,
        node: str,
        topics: Topics,
        connected: Callable[[], bool],
        counters: Counters,
        silent_s: float = SILENT_S,
    ) -> None:
        """`connected`: whether the node has a broker at present.

        Raises OSError when the address cannot be listened on.
        """
        pictures = None if config.pictures is None else Pictures(config.pictures)
        board = Board(topics) if pictures is None else Board(topics, pictures.size)
        self._hub = Hub()
        self._feed = BrowserFeed(node, board, self._hub, connected, counters)
        self.heard = self._feed.heard
        app = application(self._hub, self._feed.everything, pictures, token)
        self._socket = listening(config.host, config.port, silent_s)
        self._server = _Server(app, self._hub)
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    @property
    def url(self) -> str:
        host, port = self._socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to serve. The socket listens already: who calls before is answered soon."""
        self._thread.start()

    def close(self) -> None:
        """End all streams and the thread."""
        self._server.end()
        self._thread.join(CLOSE_S)
        self._socket.close()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception:
            # The outermost loop of this thread: without a page, captions go on.
            log.exception("the dashboard ended by a fault of ours")

    async def _serve(self) -> None:
        feed = asyncio.create_task(self._feed.run())
        try:
            await self._server.serve([self._socket])
        finally:
            feed.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feed


class _Server(uvicorn.Server):
    """Ends when asked to, where uvicorn's own looks ten times a second whether it should."""

    def __init__(self, app: ASGIApp, hub: Hub) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._hub = hub
        self._ending = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def end(self) -> None:
        """From any thread, also before it has begun."""
        self._ending.set()
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(self._ended.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        if not self._ending.is_set():
            await self._ended.wait()
        self._hub.close()


def listening(host: str, port: int, silent_s: float) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections that are accepted inherit both.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(silent_s * 1000))
        listener.bind(address)
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    return listener

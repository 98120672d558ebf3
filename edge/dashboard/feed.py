"""From what was heard to what browsers are told: the work of the dashboard's event loop.

Events of the stream, each with a JSON object: `hello` with everything, then `lines` (new and
refined captions), `state` (all the rest, when it has changed) and `beat` (nothing has).
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from aiflow import __version__
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties
from aiflow.edge.dashboard.board import Board
from aiflow.edge.dashboard.hub import Hub

log = logging.getLogger(__name__)

MAX_INBOX: Final = 4096
"""Messages heard and not yet shown; beyond it the oldest go, counted."""
PAUSE_S: Final = 0.1
"""Between two messages to browsers; what comes meanwhile travels together."""
STATE_S: Final = 1.0
BEAT_S: Final = 15.0
"""The page takes a longer silence for a lost connection."""


class BrowserFeed:
    """`heard` is any thread's; the rest belongs to the event loop."""

    def __init__(
        self,
        node: str,
        board: Board,
        hub: Hub,
        connected: Callable[[], bool],
        counters: Counters,
    ) -> None:
        """`connected`: whether the node has a broker at present."""
        self._about = {"node": node, "software": __version__, "began": time.time()}
        self._board = board
        self._hub = hub
        self._connected = connected
        self._counters = counters
        self._lock = threading.Lock()  # guards inbox and loop
        self._inbox: deque[tuple[str, bytes]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._shown: dict[str, object] = {}
        self._state_at = 0.0
        self._spoke_at = 0.0

    def heard(self, topic: str, payload: bytes, _properties: Properties) -> None:
        """A handler of the MQTT session, on its network thread: only hands on."""
        with self._lock:
            if len(self._inbox) >= MAX_INBOX:
                self._inbox.popleft()
                self._counters.add("aiflow_dashboard_dropped_total")
            self._inbox.append((topic, payload))
            if self._loop is not None and len(self._inbox) == 1:
                self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Until cancelled. With no browser there, it only wakes up for what was heard."""
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._woken.set()
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(STATE_S if self._hub.clients else None):
                        await self._woken.wait()
                self._woken.clear()
                try:
                    self._turn(time.monotonic())
                except Exception:
                    # The outermost loop of this thread: a bug costs one turn.
                    log.exception("dashboard: a fault of ours")
                await asyncio.sleep(PAUSE_S)
        finally:
            with self._lock:
                self._loop = None

    def everything(self) -> bytes:
        """The event with which a browser begins, or begins again."""
        self._woken.set()  # from now on there is somebody to tell
        state = self._board.state(connected=self._connected())
        return event("hello", self._about | {"lines": self._board.lines(), "state": state})

    def _turn(self, now: float) -> None:
        with self._lock:
            inbox, self._inbox = self._inbox, deque()
        for topic, payload in inbox:
            self._board.take(topic, payload)
        changes = self._board.changes()
        if not self._hub.clients:
            return
        if changes:
            self._tell("lines", {"lines": changes}, now)
        if now - self._state_at >= STATE_S:
            self._state_at = now
            state = self._board.state(connected=self._connected())
            if state != self._shown:
                self._shown = state
                self._tell("state", state, now)
        if now - self._spoke_at >= BEAT_S:
            self._tell("beat", {}, now)

    def _tell(self, name: str, content: dict[str, object], now: float) -> None:
        self._spoke_at = now
        self._hub.broadcast(event(name, content))


def event(name: str, content: dict[str, object]) -> bytes:
    """One server-sent event. JSON has no line breaks of its own, so the data is one line."""
    return f"event: {name}\ndata: {json.dumps(content, separators=(',', ':'))}\n\n".encode()

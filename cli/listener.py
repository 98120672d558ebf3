"""Captions as they come from a broker, handed from the network thread to a command's own."""

from __future__ import annotations

import queue
import secrets
from types import TracebackType
from typing import Final, Self

from aiflow.common.config import Broker
from aiflow.common.errors import PayloadError
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Properties, Session

MAX_WAITING: Final = 1000
"""Captions that came and have not been shown; beyond it new ones are dropped and counted."""


class Listener:
    """Subscribes to topics that carry caption messages; use it with `with`."""

    def __init__(self, broker: Broker, *topics: str) -> None:
        """Raises ConfigError when the broker's password file or a certificate cannot be read."""
        self.dropped = 0
        self.unreadable = 0
        self.session = Session(broker, f"aiflow-watch-{secrets.token_hex(4)}")
        self._waiting: queue.Queue[Caption] = queue.Queue(MAX_WAITING)
        for topic in topics:
            self.session.subscribe(topic, 1, self._take)

    def next(self, timeout_s: float) -> Caption | None:
        """The next caption in order of arrival; None when there is none in time."""
        try:
            return self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def __enter__(self) -> Self:
        self.session.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.session.close()

    def _take(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        """Runs on the network thread."""
        if not payload:  # a retained caption that was cleared
            return
        try:
            self._waiting.put_nowait(Caption.from_json(payload))
        except PayloadError:
            self.unreadable += 1
        except queue.Full:
            self.dropped += 1

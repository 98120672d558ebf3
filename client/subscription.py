"""What comes from a broker, one thing after the other: a session behind an iterator.

network thread ── handler ──> bounded queue ──> whoever iterates
"""

from __future__ import annotations

import queue
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Final, Generic, Self, TypeVar

from aiflow.common.config import Broker
from aiflow.common.mqtt import Session
from aiflow.common.topics import Topics, check_name

CONNECT_S: Final = 10.0
MAX_WAITING: Final = 1000
"""What came and was not taken yet; beyond it new ones are dropped and counted."""

T = TypeVar("T")


class Subscription(Generic[T]):
    """An iterator over what comes; it connects with the first one, or with `with`.

    Iterating blocks until something comes. It ends after `timeout_s` seconds without anything, if
    that is given, and when it is closed; a connection that is lost comes back by itself.
    """

    def __init__(
        self,
        broker: Broker,
        device: str | None,
        camera: str | None,
        timeout_s: float | None,
    ) -> None:
        """Raises ConfigError for names that no topic has, and for files that cannot be read."""
        self._topics = Topics(broker.prefix)
        device = "+" if device is None else check_name("device", device)
        camera = "+" if camera is None else check_name("camera", camera)
        self._base = f"{broker.prefix}/{device}/{camera}"
        self._timeout_s = timeout_s
        self._waiting: queue.Queue[T | None] = queue.Queue(MAX_WAITING)
        self._started = False
        self._closed = False
        self.skipped = Counter[str]()
        """How many messages gave nothing, by reason."""
        self._session = Session(broker, f"{broker.prefix}-client-{secrets.token_hex(6)}")

    def __enter__(self) -> Self:
        """Connect; raises BrokerRefused with the broker's reason, and BrokerUnreachable."""
        if not self._started:
            self._started = True
            self._session.start()
        try:
            self._session.wait_connected(CONNECT_S)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        """Everything from now on, once: when the loop is left, the connection ends."""
        with self:
            while (one := self.next(self._timeout_s)) is not None:
                yield one

    def next(self, timeout_s: float | None) -> T | None:
        """The next one, or None if there is none in time, or nothing more; inside `with`."""
        if self._closed and self._waiting.empty():
            return None
        try:
            return self._waiting.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """From any thread; may be called twice."""
        if not self._closed:
            self._closed = True
            self._session.close(drain_s=0.0)
            self._put(None)  # wakes whoever waits; one that finds a full queue is awake

    def _put(self, one: T | None) -> None:
        try:
            self._waiting.put_nowait(one)
        except queue.Full:
            self.skipped["too_slow"] += 1

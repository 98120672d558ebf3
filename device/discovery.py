"""Tells Home Assistant of this device, or takes it back: one discovery message, retained.

The broker is the memory. What an earlier run had announced comes back from it, so that cameras
which are no longer configured can be taken out, or all of it. Announced on each connect, and again
a while after Home Assistant says that it has started, in case the broker has forgotten it.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Collection, Iterable
from typing import Final

from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.topics import Topics
from aiflow.device.entities import (
    describe,
    discovery_id,
    discovery_topic,
    message,
    stale_after_s,
    withdrawn,
)

log = logging.getLogger(__name__)

RESEND_S: Final = (1.0, 5.0)
"""All devices hear Home Assistant start; each announces itself after a random time between."""


class Discovery:
    """One device's message."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        session: Session,
        topics: Topics,
        device: str,
        cameras: Iterable[str],
        *,
        prefix: str,
        wanted: bool,
        max_interval_s: float,
        pictured: Collection[str] = (),
    ) -> None:
        """`prefix` is Home Assistant's; a still scene is captioned every `max_interval_s`.

        `pictured` are the cameras that give snapshots.

        Not `wanted`, it is taken back as soon as the broker shows it. Nothing is written where
        nothing is: Home Assistant would wonder, and the broker might refuse.
        """
        self._session = session
        self._topics = topics
        self._device = device
        self._wanted = wanted
        self._status = f"{prefix}/status"
        self._topic = discovery_topic(prefix, discovery_id(topics.prefix, device))
        self._components = describe(
            topics, device, cameras, stale_after_s(max_interval_s), pictured
        )
        self._lock = threading.Lock()  # guards the next two
        self._stopped = False
        self._timer: threading.Timer | None = None

    def start(self) -> None:
        """To be called before the session connects.

        What is retained is asked for before it is replaced: a broker answers in this order.
        """
        self._session.subscribe(self._topic, 1, self._on_retained)
        if self._wanted:
            self._session.subscribe(self._status, 1, self._on_status)
            self._announce()

    def stop(self) -> None:
        """What is announced stays so: the device will come back."""
        with self._lock:
            self._stopped = True
            timer = self._timer
        if timer is not None:
            timer.cancel()
            timer.join()

    def _announce(self) -> None:
        with self._lock:
            self._timer = None
        payload = message(self._topics, self._device, self._components)
        self._session.announce(self._topic, payload)

    # What the network thread hears.

    def _on_status(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        if payload == b"online":
            self._announce_later()

    def _on_retained(self, _topic: str, payload: bytes, properties: Properties) -> None:
        if not properties.retained or not payload:
            return  # the echo of what we have just published
        if not self._wanted:
            log.info("taking back what Home Assistant was told of device %s", self._device)
            self._session.publish(Outgoing(self._topic, b"", qos=1, retain=True))
            return
        gone = withdrawn(payload, self._components)
        if gone:
            log.info("telling Home Assistant that %d entities are no more", len(gone))
            self._components = self._components | gone
            self._announce_later()

    def _announce_later(self) -> None:
        with self._lock:
            if self._stopped or self._timer is not None:
                return
            self._timer = threading.Timer(random.uniform(*RESEND_S), self._announce)
            self._timer.daemon = True
            self._timer.start()

"""Captions as they come."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from aiflow.client.subscription import Subscription
from aiflow.common.config import Broker
from aiflow.common.errors import PayloadError
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Properties

REMEMBERED: Final = 1024
"""So many captions are known when they come a second time, under the other topic."""


class Captions(Subscription[Caption]):
    """Every caption, and every update under the id of the caption that it betters.

    What a trigger of the edge node found comes as a repetition of its caption, of type `trigger`.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        device: str | None = None,
        camera: str | None = None,
        timeout_s: float | None = None,
        latest: bool = False,
    ) -> None:
        """Of all devices and cameras, or of one. `timeout_s`: end when nothing came for so long.

        `latest`: begin with the latest caption of each camera, which the broker has kept. Raises
        ConfigError for names that no topic has, and for files that cannot be read.
        """
        super().__init__(broker, device, camera, timeout_s)
        self._seen = _Seen(REMEMBERED) if latest else None
        for leaf in ("caption", "event") if latest else ("event",):
            self._session.subscribe(f"{self._base}/{leaf}", 1, self._take)

    def _take(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        if not payload:  # a kept caption was removed
            return
        try:
            caption = Caption.from_json(payload)
        except PayloadError as error:
            self.skipped[error.reason] += 1
            return
        if self._seen is None or not self._seen.before(caption):
            self._put(caption)


class _Seen:
    """The last captions, since most come as `event` and as kept `caption`."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def before(self, caption: Caption) -> bool:
        """Was it here already? Remembers it."""
        key = (caption.id, caption.type, caption.text)
        if key in self._keys:
            return True
        self._keys[key] = None
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)
        return False

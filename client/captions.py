"""Captions as they come."""

from __future__ import annotations

from aiflow.client.subscription import Subscription
from aiflow.common.config import Broker
from aiflow.common.errors import PayloadError
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Properties


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
    ) -> None:
        """Of all devices and cameras, or of one. `timeout_s`: end when nothing came for so long.

        Raises ConfigError for names that no topic has, and for files that cannot be read.
        """
        super().__init__(broker, device, camera, timeout_s)
        self._session.subscribe(self._filter("event"), 1, self._take)

    def _take(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        try:
            self._put(Caption.from_json(payload))
        except PayloadError as error:
            self._skip(error.reason)

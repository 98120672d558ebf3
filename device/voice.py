"""What one camera says on MQTT: status, state, descriptor, and refinements that were asked for."""

from __future__ import annotations

from collections.abc import Callable

from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Session
from aiflow.common.topics import Topics
from aiflow.common.wire import Kind
from aiflow.device.camera import Image


class Voice:
    """Speaks for one camera; any thread may call."""

    def __init__(
        self,
        session: Session,
        topics: Topics,
        device: str,
        camera: str,
        *,
        counters: Counters,
        expiry_s: int,
        describe: Callable[[int, int], Descriptor],
    ) -> None:
        """`describe` makes the descriptor for frames of a width and a height in pixels."""
        self._session = session
        self._counters = counters
        self._status = topics.status(device, camera)
        self._enabled = topics.enabled_state(device, camera)
        self._descriptor = topics.descriptor(device, camera)
        self._embedding = topics.embedding(device, camera)
        self._expiry_s = expiry_s
        self._describe = describe

    def status(self, status: str) -> None:
        self._session.announce(self._status, status.encode())

    def enabled(self, *, on: bool) -> None:
        self._session.announce(self._enabled, b"ON" if on else b"OFF")

    def descriptor(self, image: Image) -> bytes:
        """Say what the stream is, frames like this one being sent; returns what was said."""
        height, width = image.shape[:2]
        descriptor = self._describe(width, height).to_json()
        self.say_descriptor(descriptor)
        return descriptor

    def say_descriptor(self, descriptor: bytes) -> None:
        self._session.announce(self._descriptor, descriptor)

    def embedding(self, payload: bytes) -> bool:
        """Publish one payload; False if the session takes no more at present."""
        sent = self._session.publish(
            self._embedding, payload, qos=1, alias=True, expiry_s=self._expiry_s
        )
        if sent:
            kind = Kind(payload[0] & 0x0F).name.lower()
            self._counters.add("aiflow_published_bytes_total", len(payload), kind=kind)
        return sent

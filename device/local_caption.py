"""Local captions: made on the device, and published by it where no edge node is there to do it.

The message is the one that an edge node would have made of the same payload, under the same id.
The broker's acceptance of both copies, retained and event, ends the frame's custody, as it would
there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiflow.common.acks import Acks
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.codec import Symbols
from aiflow.common.messages import REASONS, Caption, CaptionBytes, Latency, caption_id
from aiflow.common.mqtt import Outgoing, Session, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import unpack_local
from aiflow.device.outbox import Entry

TIER: Final = "nano"
"""The bundle's decoder for devices."""
LATE_S: Final = 5.0
"""Age from which a caption counts as late."""


class Nano:
    """The device's decoder, loaded when it is first needed: most devices never do."""

    def __init__(self, bundle: Bundle, threads: int) -> None:
        self._bundle = bundle
        self._threads = threads
        self._captioner: Captioner | None = None

    def caption(self, symbols: Symbols) -> Draft:
        """Raises BundleError if the decoder cannot be loaded."""
        if self._captioner is None:
            self._captioner = Captioner(self._bundle, TIER, self._threads)
        (draft,) = self._captioner.caption([Request(symbols)])
        return draft


class LocalCaptions:
    """Publishes for one camera of a device without an edge node."""

    def __init__(
        self, session: Session, topics: Topics, device: str, camera: str, bundle_id: str
    ) -> None:
        self._session = session
        self._device = device
        self._camera = camera
        self._bundle_id = bundle_id
        self._caption = topics.caption(device, camera)
        self._event = topics.event(device, camera)

    def publish(self, entry: Entry, payload_bytes: int, on_accepted: Callable[[], None]) -> int:
        """Publish a local frame's caption; what it costs in bytes, 0 if it cannot leave now.

        `on_accepted` is called on the network thread. A caption that the broker does not accept
        stays in the outbox, and is published again later.
        """
        caption = self._made(entry, payload_bytes)
        # Of the message itself, give or take the digits of this number.
        size = self._size(len(caption.to_json()))
        cost = CaptionBytes(embedding=payload_bytes, uplink=size)
        message = caption.model_copy(update={"bytes": cost}).to_json()
        acks = Acks(2, lambda fault: on_accepted() if fault is None else None)
        for topic, retain in ((self._caption, True), (self._event, False)):
            if not self._session.publish(
                Outgoing(topic, message, qos=1, retain=retain, on_accepted=acks.acknowledged)
            ):
                return 0
        return size

    def _made(self, entry: Entry, payload_bytes: int) -> Caption:
        local = unpack_local(entry.record.body)
        captured_s = (entry.epoch_ms + entry.record.captured_ms) / 1000
        age_s = time.time() - captured_s
        return Caption(
            id=caption_id(self._device, self._camera, entry.epoch_ms, entry.sequence),
            device=self._device,
            camera=self._camera,
            timestamp=captured_s,
            type="new",
            text=local.text,
            confidence=round(local.confidence, 4),
            tier="device",
            mode="device",
            bytes=CaptionBytes(embedding=payload_bytes, uplink=0),
            latency_s=Latency(total=round(age_s, 6)),
            bundle=self._bundle_id,
            late=age_s > LATE_S,
            sequence=entry.sequence,
            reason=f"captioned on the device: {REASONS[local.why]}",
        )

    def _size(self, message_bytes: int) -> int:
        topics = (self._caption, self._event)
        return sum(publish_size(len(t.encode()), message_bytes, qos=1) for t in topics)

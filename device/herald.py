"""Publishes captions of the device's own where no edge node is there to do it.

The message is the one that an edge node would have made of the same payload, under the same id.
The broker's acceptance of both copies, retained and event, ends the frame's custody, as it would
there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiflow.common.acks import Acks
from aiflow.common.errors import PayloadError
from aiflow.common.messages import REASONS, Caption, CaptionBytes, Latency, caption_id
from aiflow.common.mqtt import Outgoing, Session, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, Kind, unpack, unpack_local
from aiflow.device.outbox import Entry

LATE_S: Final = 5.0
"""Age from which a caption counts as late."""

OnTold = Callable[[int], None]
"""Gets the sequence of a frame whose caption the broker has accepted; on the network thread."""


class Herald:
    """Speaks for one camera of a device without an edge node."""

    def __init__(
        self, session: Session, topics: Topics, context: Context, bundle_id: str, on_told: OnTold
    ) -> None:
        self._session = session
        self._context = context
        self._bundle_id = bundle_id
        self._on_told = on_told
        self._caption = topics.caption(context.device, context.camera)
        self._event = topics.event(context.device, context.camera)

    def tell(self, entry: Entry) -> int | None:
        """Publish a frame's caption; the bytes that it costs, 0 if the session takes no more now.

        None for a frame that is not captioned: it waits for an edge node.
        """
        caption = self._read(entry)
        if caption is None:
            return None
        # Of the message itself, give or take the digits of this number.
        size = self._size(len(caption.to_json()))
        cost = CaptionBytes(embedding=len(entry.payload), uplink=size)
        message = caption.model_copy(update={"bytes": cost}).to_json()
        told = Acks(2, lambda fault: self._answered(entry.sequence, fault))
        for topic, retain in ((self._caption, True), (self._event, False)):
            if not self._session.publish(
                Outgoing(topic, message, qos=1, retain=retain, on_accepted=told.answered)
            ):
                return 0
        return size

    def _answered(self, sequence: int, fault: str | None) -> None:
        """A caption that was not accepted stays in the outbox, and is told again later."""
        if fault is None:
            self._on_told(sequence)

    def _read(self, entry: Entry) -> Caption | None:
        if entry.payload[0] & 0x0F != Kind.LOCAL:
            return None
        context = self._context
        try:
            packet = unpack(entry.payload, context)
            local = unpack_local(packet.body)
        except PayloadError:  # of our own making; the edge node will count it
            return None
        captured_s = (context.epoch_ms + packet.captured_ms) / 1000
        age_s = time.time() - captured_s
        return Caption(
            id=caption_id(context.device, context.camera, context.epoch_ms, packet.sequence),
            device=context.device,
            camera=context.camera,
            timestamp=captured_s,
            type="new",
            text=local.text,
            confidence=round(local.confidence, 4),
            tier="device",
            mode="device",
            bytes=CaptionBytes(embedding=len(entry.payload), uplink=0),
            latency_s=Latency(total=round(age_s, 6)),
            bundle=self._bundle_id,
            late=age_s > LATE_S,
            sequence=packet.sequence,
            reason=f"captioned on the device: {REASONS[local.why]}",
        )

    def _size(self, message_bytes: int) -> int:
        topics = (self._caption, self._event)
        return sum(publish_size(len(t.encode()), message_bytes, qos=1) for t in topics)

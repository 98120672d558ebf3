"""From payloads on topics to frames in hand. Runs on the network thread; opens nothing.

    payload -> stream -> check (length, version, trailer, bundle) -> custody -> symbols -> a frame

Whatever is wrong with a payload is counted by reason and dropped; its device keeps the frame and
sends it again, at once and as a key frame if it hears that a reference is missing. Raises nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiflow.common.bundle import BundleCoding
from aiflow.common.errors import PayloadError, PayloadMalformed, ReferenceMissing
from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters, Faults
from aiflow.common.mqtt import Properties, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import (
    Kind,
    Packet,
    require_bundle,
    unpack,
    unpack_local,
)
from aiflow.edge.custody import Custody
from aiflow.edge.received import (
    EmbeddingFrame,
    FrameKey,
    LocalCaption,
    PictureFrame,
    Received,
    ReceivedFrame,
    StreamKey,
)
from aiflow.edge.streams import Stream, Streams

log = logging.getLogger(__name__)

KEY_FRAME_EVERY_S: Final = 1.0
"""A stream whose references are missing is asked for a key frame at most this often."""


DECODED: Final = frozenset({Kind.KEY, Kind.DELTA, Kind.REFINE})
"""Of these, symbols are decoded here."""
WHOLE: Final = frozenset({Kind.KEY, Kind.LOCAL, Kind.IMAGE})
"""These stand alone."""


@dataclass(frozen=True, slots=True)
class _Coming:
    """What is known of a payload before it is read."""

    payload: bytes
    received_at: float
    uplink_bytes: int


@dataclass(frozen=True, slots=True)
class ReceiveLimits:
    """What the owner of the node has set."""

    max_streams: int
    late_after_s: float


class Receiver:
    """Reads descriptors and embedding payloads of all cameras."""

    def __init__(
        self,
        topics: Topics,
        codings: Sequence[BundleCoding],
        device_keys: Mapping[str, bytes],
        custody: Custody,
        ask_key_frame: Callable[[StreamKey], None],
        counters: Counters,
        limits: ReceiveLimits,
    ) -> None:
        """`ask_key_frame` is called for a stream whose deltas cannot be read.

        Raises ConfigError for a key of a length that no key has.
        """
        self._topics = topics
        self.streams = Streams(codings, device_keys, max_streams=limits.max_streams)
        self._custody = custody
        self._ask_key_frame = ask_key_frame
        self._counters = counters
        self._faults = Faults(counters, "aiflow_payload_errors_total", log)
        self._late_after_s = limits.late_after_s

    def descriptor(self, topic: str, payload: bytes, _properties: Properties) -> None:
        """Take what came under a `descriptor` topic; empty means that it was removed."""
        parsed = self._topics.parse(topic)
        if parsed is None:
            self._faults.record("topic", f"{topic!r} is no camera's topic")
            return
        device, camera, _ = parsed
        try:
            if payload:
                self.streams.describe(device, camera, Descriptor.from_json(payload))
            else:
                self.streams.forget(device, camera)
        except PayloadError as error:
            self._faults.record("descriptor", f"descriptor of {device}/{camera}: {error}")

    def frame(self, topic: str, payload: bytes, properties: Properties) -> Received | None:
        """Take what came under an `embedding` or an `image` topic; None if it is no new frame."""
        coming = _Coming(payload, time.monotonic(), _uplink_bytes(payload, properties))
        parsed = self._topics.parse(topic)
        if parsed is None:
            self._faults.record("topic", f"{topic!r} is no camera's topic")
            return None
        device, camera, _ = parsed
        self._counters.add("aiflow_received_total")
        self._counters.add("aiflow_received_bytes_total", len(payload))
        stream = self.streams.get(device, camera)
        if stream is None:
            self._faults.record("no_descriptor", f"{device}/{camera} has not described its stream")
            return None
        try:
            packet = unpack(payload, stream.context, stream.references())
            coding = stream.known_coding()
            require_bundle(packet, coding.tag)
            return self._take(stream, coding, packet, coming)
        except PayloadError as error:
            self._faults.record(error.reason, f"{device}/{camera}: {error}")
            if isinstance(error, ReferenceMissing):
                self._want_key_frame(stream)
            return None

    def _take(
        self, stream: Stream, coding: BundleCoding, packet: Packet, coming: _Coming
    ) -> Received | None:
        key = FrameKey(stream.key, packet.sequence)
        # More layers of a frame come after its caption; custody of it is settled by then.
        refined = packet.kind is Kind.REFINE
        if not refined and not self._custody.admit(key):
            # A restart has made us forget what was captioned, but its device may refer to it.
            if packet.kind in DECODED and packet.sequence not in stream.frames:
                with contextlib.suppress(PayloadError):  # it is counted already, as a duplicate
                    stream.take(packet, coming.payload, coding.tables)
            return None
        try:
            return self._read(stream, coding, key, packet, coming)
        except PayloadError as error:
            if isinstance(error, PayloadMalformed) and packet.kind in WHOLE:
                # Genuine and whole, but nonsense: it would be no better the next time.
                self._custody.captioned(key)
            elif not refined:
                self._custody.release(key)
            raise

    def _read(
        self, stream: Stream, coding: BundleCoding, key: FrameKey, packet: Packet, coming: _Coming
    ) -> Received:
        captured_s = (stream.key.epoch_ms + packet.captured_ms) / 1000
        received_s = time.time()
        known = ReceivedFrame(
            key=key,
            payload=coming.payload,
            captured_s=captured_s,
            received_s=received_s,
            received_at=coming.received_at,
            late=received_s - captured_s > self._late_after_s,
            coding=coding,
            uplink_bytes=coming.uplink_bytes,
        ).known()
        if packet.kind is Kind.LOCAL:
            return LocalCaption(**known, local=unpack_local(packet.body))
        if packet.kind is Kind.IMAGE:
            header, context = packet.header, stream.context
            return PictureFrame(**known, jpeg=packet.body, header=header, context=context)
        frame = stream.take(packet, coming.payload, coding.tables)
        return EmbeddingFrame(
            **known,
            decoded=frame.decoded,
            header=frame.header,
            payloads=frame.payloads,
            context=stream.context,
            cloud=stream.cloud,
            refined=packet.kind is Kind.REFINE,
        )

    def _want_key_frame(self, stream: Stream) -> None:
        now = time.monotonic()
        if now - stream.key_frame_asked_at >= KEY_FRAME_EVERY_S:
            stream.key_frame_asked_at = now
            self._ask_key_frame(stream.key)


def _uplink_bytes(payload: bytes, properties: Properties) -> int:
    """Of the PUBLISH on the device's link, sent as it came here, with an alias for the topic.

    The first message of a connection carries the topic as well, which cannot be seen here.
    """
    return publish_size(
        0,
        len(payload),
        qos=properties.qos,
        alias=True,
        expiry=properties.expiry_s is not None,
    )

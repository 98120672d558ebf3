"""From payloads on topics to frames in hand. Runs on the network thread; opens nothing.

    payload -> stream -> check (length, version, trailer, bundle) -> custody -> symbols -> `Next`

Whatever is wrong with a payload is counted by reason and dropped; its device keeps the frame and
sends it again, at once and as a key frame if it hears that a reference is missing. Raises nothing.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Final, Protocol

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


class Next(Protocol):
    """Where the receiver hands on what it has read; must return quickly."""

    def embedding(self, frame: EmbeddingFrame) -> None: ...

    def picture(self, frame: PictureFrame) -> None: ...

    def local_caption(self, frame: LocalCaption) -> None: ...

    def key_frames_wanted(self, stream: StreamKey) -> None:
        """Deltas of the stream cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class _Coming:
    """What is known of a payload before it is read."""

    payload: bytes
    received_at: float
    uplink_bytes: int


class Receiver:
    """Reads descriptors and embedding payloads of all cameras."""

    def __init__(
        self,
        topics: Topics,
        coding: BundleCoding,
        streams: Streams,
        custody: Custody,
        onward: Next,
        counters: Counters,
        *,
        late_after_s: float,
    ) -> None:
        self._topics = topics
        self._tag = coding.tag
        self._tables = coding.tables
        self._streams = streams
        self._custody = custody
        self._next = onward
        self._counters = counters
        self._faults = Faults(counters, "aiflow_payload_errors_total", log)
        self._late_after_s = late_after_s

    def descriptor(self, topic: str, payload: bytes) -> None:
        """Take what came under a `descriptor` topic; empty means that it was removed."""
        parsed = self._topics.parse(topic)
        if parsed is None:
            self._faults.record("topic", f"{topic!r} is no camera's topic")
            return
        device, camera, _ = parsed
        try:
            if payload:
                self._streams.describe(device, camera, Descriptor.from_json(payload))
            else:
                self._streams.forget(device, camera)
        except PayloadError as error:
            self._faults.record("descriptor", f"descriptor of {device}/{camera}: {error}")

    def fault(self, frame: ReceivedFrame, error: PayloadError) -> None:
        """What was taken turned out to be none; any thread may tell."""
        device, camera, _ = frame.key.stream
        self._faults.record(error.reason, f"{device}/{camera}: {error}")

    def embedding(self, topic: str, payload: bytes, properties: Properties) -> None:
        """Take what came under an `embedding` or an `image` topic."""
        coming = _Coming(payload, time.monotonic(), _uplink_bytes(payload, properties))
        parsed = self._topics.parse(topic)
        if parsed is None:
            self._faults.record("topic", f"{topic!r} is no camera's topic")
            return
        device, camera, _ = parsed
        self._counters.add("aiflow_received_total")
        self._counters.add("aiflow_received_bytes_total", len(payload))
        stream = self._streams.get(device, camera)
        if stream is None:
            self._faults.record("no_descriptor", f"{device}/{camera} has not described its stream")
            return
        try:
            packet = unpack(payload, stream.context, stream.references())
            stream.require_our_bundle()
            require_bundle(packet, self._tag)
            self._take(stream, packet, coming)
        except PayloadError as error:
            self._faults.record(error.reason, f"{device}/{camera}: {error}")
            if isinstance(error, ReferenceMissing):
                self._want_key_frames(stream)

    def _take(self, stream: Stream, packet: Packet, coming: _Coming) -> None:
        key = FrameKey(stream.key, packet.sequence)
        # More layers of a frame come after its caption; custody of it is settled by then.
        refined = packet.kind is Kind.REFINE
        if not refined and not self._custody.admit(key):
            # A restart has made us forget what was captioned, but its device may refer to it.
            if packet.kind in DECODED and packet.sequence not in stream.frames:
                with contextlib.suppress(PayloadError):  # it is counted already, as a duplicate
                    stream.take(packet, coming.payload, self._tables)
            return
        try:
            self._hand_on(stream, key, packet, coming)
        except PayloadError as error:
            if isinstance(error, PayloadMalformed) and packet.kind in WHOLE:
                # Genuine and whole, but nonsense: it would be no better the next time.
                self._custody.captioned(key)
            elif not refined:
                self._custody.release(key)
            raise

    def _hand_on(self, stream: Stream, key: FrameKey, packet: Packet, coming: _Coming) -> None:
        captured_s = (stream.key.epoch_ms + packet.captured_ms) / 1000
        received_s = time.time()
        known = ReceivedFrame(
            key=key,
            payload=coming.payload,
            captured_s=captured_s,
            received_s=received_s,
            received_at=coming.received_at,
            late=received_s - captured_s > self._late_after_s,
            uplink_bytes=coming.uplink_bytes,
        ).known()
        if packet.kind is Kind.LOCAL:
            self._next.local_caption(LocalCaption(**known, local=unpack_local(packet.body)))
            return
        if packet.kind is Kind.IMAGE:
            header, context = packet.header, stream.context
            self._next.picture(
                PictureFrame(**known, jpeg=packet.body, header=header, context=context)
            )
            return
        frame = stream.take(packet, coming.payload, self._tables)
        self._next.embedding(
            EmbeddingFrame(
                **known,
                decoded=frame.decoded,
                header=frame.header,
                payloads=frame.payloads,
                context=stream.context,
                cloud=stream.cloud,
                refined=packet.kind is Kind.REFINE,
            )
        )

    def _want_key_frames(self, stream: Stream) -> None:
        now = time.monotonic()
        if now - stream.key_frame_asked_at >= KEY_FRAME_EVERY_S:
            stream.key_frame_asked_at = now
            self._next.key_frames_wanted(stream.key)


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

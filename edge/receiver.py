"""From payloads on topics to frames in hand. Runs on the network thread; opens nothing.

    payload -> stream -> check (length, version, trailer, bundle) -> custody -> symbols -> `Next`

Whatever is wrong with a payload is counted by reason and dropped; its device keeps the frame and
sends it again. Raises nothing.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final, Protocol

from aiflow.common.codec import Tables
from aiflow.common.errors import PayloadError, ReferenceMissing
from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters, Faults
from aiflow.common.symbols import reference_of, symbols_of
from aiflow.common.topics import Topics
from aiflow.common.wire import (
    MAX_ESCALATED_PAYLOADS,
    Kind,
    Packet,
    require_bundle,
    unpack,
    unpack_local,
)
from aiflow.edge.arrival import Embedding, FrameKey, LocalCaption
from aiflow.edge.custody import Custody
from aiflow.edge.streams import Stream, Streams

log = logging.getLogger(__name__)

KEY_FRAME_EVERY_S: Final = 1.0
"""A stream whose references are missing is asked for a key frame at most this often."""


class Next(Protocol):
    """Where the receiver hands on what it has read; must return quickly."""

    def embedding(self, frame: Embedding) -> None: ...

    def local_caption(self, frame: LocalCaption) -> None: ...

    def key_frame_wanted(self, frame: FrameKey) -> None: ...


@dataclass(frozen=True, slots=True)
class Coding:
    """What frames must be coded for: the bundle's id in hex, its tag and its tables."""

    bundle_id: str
    tag: bytes
    tables: Tables


class Receiver:
    """Reads descriptors and embedding payloads of all cameras."""

    def __init__(
        self,
        topics: Topics,
        coding: Coding,
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

    def embedding(self, topic: str, payload: bytes) -> None:
        """Take what came under an `embedding` topic."""
        received_at = time.monotonic()
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
            packet = unpack(payload, stream.context)
            stream.require_our_bundle()
            require_bundle(packet, self._tag)
            self._take(stream, packet, payload, received_at)
        except PayloadError as error:
            self._faults.record(error.reason, f"{device}/{camera}: {error}")

    def _take(self, stream: Stream, packet: Packet, payload: bytes, received_at: float) -> None:
        key = FrameKey(stream.key, packet.sequence)
        # More layers of a frame come after its caption; custody of it is settled by then.
        refined = packet.kind is Kind.REFINE
        if not refined and not self._custody.admit(key):
            return
        try:
            self._read(stream, key, packet, payload, received_at)
        except PayloadError as error:
            if not refined:
                self._custody.release(key)
            if isinstance(error, ReferenceMissing):
                self._want_key_frame(stream, key)
            raise

    def _read(
        self, stream: Stream, key: FrameKey, packet: Packet, payload: bytes, received_at: float
    ) -> None:
        captured_s = (stream.key.epoch_ms + packet.captured_ms) / 1000
        received_s = time.time()
        late = received_s - captured_s > self._late_after_s
        if packet.kind is Kind.LOCAL:
            confidence, text = unpack_local(packet.body)
            self._next.local_caption(
                LocalCaption(
                    key=key,
                    payload=payload,
                    captured_s=captured_s,
                    received_s=received_s,
                    received_at=received_at,
                    late=late,
                    text=text,
                    confidence=confidence,
                )
            )
            return
        symbols = symbols_of(packet, self._tables, stream.symbols)
        needed = reference_of(packet)
        earlier = () if needed is None else stream.chains[needed]
        # One more than can be escalated is kept: enough to see that it cannot.
        chain = (*earlier, payload)[-MAX_ESCALATED_PAYLOADS - 1 :]
        stream.remember(packet.sequence, symbols, chain)
        self._next.embedding(
            Embedding(
                key=key,
                payload=payload,
                captured_s=captured_s,
                received_s=received_s,
                received_at=received_at,
                late=late,
                symbols=symbols,
                chain=chain,
                trailer_bytes=stream.context.trailer_bytes,
                refined=packet.kind is Kind.REFINE,
            )
        )

    def _want_key_frame(self, stream: Stream, key: FrameKey) -> None:
        now = time.monotonic()
        if now - stream.key_frame_asked_at >= KEY_FRAME_EVERY_S:
            stream.key_frame_asked_at = now
            self._next.key_frame_wanted(key)

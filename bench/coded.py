"""Our own payloads: what a device sends for given symbols, with everything that is in it.

    symbols -> what enters the outbox -> Compressor, EdgeHealth -> what leaves
                                                          ^
                   receipts, gathered as an edge node does it, on the stream's own clock

The session is a day old and sends two frames a second, so that sequence and capture time are as
long as they are in daily use.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.codec import Tables, code_bits, compress, decompress
from aiflow.common.mqtt import PUBACK_BYTES, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, Kind, Packet, kind_of, pack, pack_receipt
from aiflow.device.compress import Compressor
from aiflow.device.config import FallbackConfig, SendingConfig
from aiflow.device.edge_health import EdgeHealth, HealthLimits
from aiflow.device.outbox import Entry, Record
from aiflow.edge.config import EdgeConfig
from aiflow.edge.custody import RECEIPT_FRAMES

FPS: Final = 2.0
SESSION_S: Final = 86_400
FIRST_SEQUENCE: Final = round(SESSION_S * FPS)
ANSWER_S: Final = 0.1
"""From sending a frame until its caption is out."""
DEVICE: Final = "porch"
CAMERA: Final = "street"
EPOCH_MS: Final = 1_767_225_600_000
CONTEXT: Final = Context(DEVICE, CAMERA, EPOCH_MS)

Symbols = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """One frame that stands alone, and the CPU time of coding and decoding it."""

    entry: Entry
    """As it is kept in the outbox."""
    payload: bytes
    body: bytes
    ideal_bits: float
    codec_ms: float


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """What leaves the device for one frame; `asked` is with QoS 1, the others with QoS 0."""

    sequence: int
    payload: bytes
    asked: bool
    """A refusal by the broker was to be noticed."""
    timed: bool
    """The broker's answer was to be timed."""

    @property
    def is_delta(self) -> bool:
        return kind_of(self.payload) == Kind.DELTA


@dataclass(frozen=True, slots=True)
class SocketBytes:
    """Mean bytes a frame from the device and to it, MQTT included; TCP and IP are not."""

    up: float
    down: float
    frames_per_receipt: float

    @property
    def mean(self) -> float:
        return self.up + self.down


@dataclass(slots=True, eq=False)
class SentStream:
    """A stream as it went: the payloads, and after how many of them each receipt came."""

    frames: list[Sent] = field(default_factory=list)
    receipts: list[tuple[int, list[int]]] = field(default_factory=list)
    """(frames sent before it, sequences it covers)."""

    def socket_bytes(self) -> SocketBytes:
        """What a connection carries, the first frame with its topic, the others with an alias.

        PUBLISH packets, PUBACKs and receipts; tests/system/test_topics.py holds the same sums
        against a real socket.
        """
        topics, count = Topics(), max(len(self.frames), 1)
        up = len(topics.embedding(DEVICE, CAMERA).encode())
        down = 0
        for frame in self.frames:
            qos = int(frame.asked or frame.timed)
            size = len(frame.payload)
            up += publish_size(0, size, qos=qos, alias=True, expiry=frame.asked)
            down += PUBACK_BYTES * qos
        topic_bytes = len(topics.receipt(DEVICE, CAMERA).encode())
        for _, sequences in self.receipts:
            down += publish_size(topic_bytes, len(pack_receipt(sequences)))
        per_receipt = round(len(self.frames) / max(len(self.receipts), 1), 2)
        return SocketBytes(up / count, down / count, per_receipt)


@dataclass(frozen=True, slots=True, eq=False)
class Coder:
    """What payloads are made with; `layers` is how many are sent at once."""

    tables: Tables
    bundle_tag: bytes
    layers: int

    def keys(self, symbols: Symbols) -> list[KeyFrame]:
        """Every frame (N, K, D) as a key frame, as it enters the outbox."""
        return [self._key(FIRST_SEQUENCE + index, frame) for index, frame in enumerate(symbols)]

    def _key(self, sequence: int, frame: Symbols) -> KeyFrame:
        began = time.thread_time()
        body = compress(frame, self.tables, layers=self.layers)
        back = decompress(body, self.tables, layers=self.layers)
        took_ms = (time.thread_time() - began) * 1000
        if not np.array_equal(back, frame[: len(back)]):
            raise RuntimeError("the codec gives back other symbols than it was given")
        packet = Packet(
            kind=Kind.KEY,
            bundle_tag=self.bundle_tag,
            sequence=sequence,
            captured_ms=round(sequence / FPS * 1000),
            body=body,
            layers=self.layers,
        )
        ideal = code_bits(frame, self.tables, layers=self.layers)
        kept = frame[: self.tables.layers[self.layers - 1]].tobytes()
        record = Record(Kind.KEY, packet.captured_ms, kept, self.layers)
        entry = Entry(sequence, EPOCH_MS, record)
        return KeyFrame(entry, pack(packet, CONTEXT), body, ideal, took_ms)

    def stream(self, keys: Iterable[KeyFrame]) -> SentStream:
        """Consecutive frames as a device sends them: its own compressor decides."""
        every_s = SendingConfig().key_every_s
        return send(keys, Compressor(self.tables, self.bundle_tag, CONTEXT, key_every_s=every_s))


def send(keys: Iterable[KeyFrame], compressor: Compressor | None = None) -> SentStream:
    """Send frames at the stream's rate, on a clock that is computed and not waited for.

    Without a compressor every frame goes as a key frame.
    """
    went, owed = SentStream(), _Owed()
    limits = HealthLimits(**FallbackConfig().model_dump())
    health = EdgeHealth([CAMERA], limits, measures=True, now=0.0)
    asked: list[int] = []
    for number, key in enumerate(keys):
        now = number / FPS
        while asked:  # the broker's ack came between two frames
            health.acknowledged(asked.pop(), now)
        for receipt in owed.due(now):
            went.receipts.append((len(went.frames), receipt))
            if compressor is not None:
                compressor.receipted(receipt)
        timed = health.wants_ack(now)
        if timed:
            asked.append(health.asked(now))
        payload = key.payload if compressor is None else compressor.first(key.entry, now)[0]
        went.frames.append(Sent(key.entry.sequence, payload, asked=number == 0, timed=timed))
        owed.captioned(key.entry.sequence, now + ANSWER_S)
    went.receipts += [(len(went.frames), receipt) for receipt in owed.due(float("inf"))]
    return went


class _Owed:
    """Receipts of one stream, gathered as an edge node's custody does it."""

    def __init__(self) -> None:
        self._every_s = EdgeConfig().receipt_every_s
        self._owed: list[tuple[float, int]] = []
        """(time of the caption, sequence)"""

    def captioned(self, sequence: int, now: float) -> None:
        self._owed.append((now, sequence))

    def due(self, now: float) -> list[list[int]]:
        """Receipts that have been sent by `now`, oldest first."""
        receipts: list[list[int]] = []
        while self._owed:
            until = self._owed[0][0] + self._every_s
            covered = [one for one in self._owed if one[0] < until][:RECEIPT_FRAMES]
            # A full one does not wait for its time.
            sent_at = covered[-1][0] if len(covered) == RECEIPT_FRAMES else until
            if sent_at > now:
                break
            receipts.append([sequence for _, sequence in covered])
            del self._owed[: len(covered)]
        return receipts

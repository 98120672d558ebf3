"""One camera's frames on their way into the outbox. No threads, no MQTT.

frame -> gate.look -> encode -> gate.changed -> compress -> pack -> outbox
                                                    │
                         recent encodings, bounded ─┴─> refine orders: further layers
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.common.codec import Tables, compress
from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import Context, Kind, Packet, RefineOrder, pack
from aiflow.device.camera import Frame, Image
from aiflow.device.encoder import Encoding
from aiflow.device.gate import Gate
from aiflow.device.outbox import Entry
from aiflow.device.stages import Stages

MAX_RECENT: Final = 64
"""Most encodings kept for refine orders; a few hundred bytes each."""


class Shelf(Protocol):
    """One camera's way into the outbox."""

    def describe(self, descriptor: bytes) -> None: ...
    def put(self, build: Callable[[int], bytes]) -> Entry: ...


class Encodes(Protocol):
    """An encoder, or what stands in for one."""

    def encode(self, image: Image) -> Encoding: ...


@dataclass(frozen=True, slots=True)
class Coding:
    """What a stream's payloads are made with; `layers` is how many are sent at once."""

    tables: Tables
    bundle_tag: bytes
    context: Context
    layers: int


class Stream:
    """State of one session of one camera; used by one thread."""

    def __init__(
        self,
        gate: Gate,
        encoder: Encodes,
        coding: Coding,
        shelf: Shelf,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._encoder = encoder
        self._coding = coding
        self._shelf = shelf
        self._counters = counters
        self._clock = clock
        self._recent: OrderedDict[int, tuple[NDArray[np.uint8], int]] = OrderedDict()
        self.stages = Stages()
        self.looked_at = 0
        self.encoded = 0
        self.accepted = 0

    def describe(self, descriptor: bytes) -> None:
        """Keep with the frames what describes them, before the first of them.

        Raises StorageError; the frame that it was to be said of is then dropped, counted.
        """
        try:
            self._shelf.describe(descriptor)
        except StorageError:
            self._counters.add("aiflow_frames_dropped_total", reason="storage")
            raise

    def offer(self, frame: Frame) -> Entry | None:
        """Take a frame; None if it was not new enough.

        Raises StorageError when the outbox cannot hold it: it is dropped, counted, and the next
        frame passes the gate in its place.
        """
        now = self._clock()
        self.looked_at += 1
        with self.stages.measure("gate"):
            reason = self._gate.look(frame.image, now)
        if reason is None:
            return None
        with self.stages.measure("encode"):
            symbols = self._encoder.encode(frame.image).symbols
        self.encoded += 1
        if not self._gate.changed(symbols, reason):
            return None
        with self.stages.measure("compress"):
            body = compress(symbols, self._coding.tables, layers=self._coding.layers)
        captured_ms = self._captured_ms(frame)
        try:
            with self.stages.measure("store"):
                entry = self._shelf.put(
                    lambda sequence: self._packed(
                        Kind.KEY, sequence, captured_ms, body, 0, self._coding.layers
                    )
                )
        except StorageError:
            self._counters.add("aiflow_frames_dropped_total", reason="storage")
            self._gate.order()
            raise
        self._gate.accepted(symbols, now)
        self._remember(entry.sequence, symbols, captured_ms)
        self.accepted += 1
        return entry

    def refine(self, order: RefineOrder) -> bytes | None:
        """Carry out an order: returns a payload to send, or lets the next frame pass the gate.

        A frame that is not remembered any more is made up for by a new key frame. Raises
        PayloadMalformed for layers that the bundle does not have.
        """
        recent = self._recent.get(order.sequence)
        if order.layers == 0 or recent is None:
            self._gate.order()
            self._counters.add("aiflow_refine_orders_total", answer="key")
            return None
        symbols, captured_ms = recent
        body = compress(
            symbols, self._coding.tables, first_layer=order.first_layer, layers=order.layers
        )
        self._counters.add("aiflow_refine_orders_total", answer="layers")
        kind = Kind.REFINE if order.first_layer else Kind.KEY
        return self._packed(
            kind, order.sequence, captured_ms, body, order.first_layer, order.layers
        )

    def _captured_ms(self, frame: Frame) -> int:
        """Since the session's epoch; 0 if the wall clock was set back behind it."""
        return max(0, round(frame.captured_at * 1000) - self._coding.context.epoch_ms)

    def _packed(
        self,
        kind: Kind,
        sequence: int,
        captured_ms: int,
        body: bytes,
        first_layer: int,
        layers: int,
    ) -> bytes:
        packet = Packet(
            kind, self._coding.bundle_tag, sequence, captured_ms, body, first_layer, layers
        )
        return pack(packet, self._coding.context)

    def _remember(self, sequence: int, symbols: NDArray[np.uint8], captured_ms: int) -> None:
        self._recent[sequence] = (symbols, captured_ms)
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)

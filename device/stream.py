"""One camera's frames on their way into the outbox. No threads, no MQTT.

budget -> gate.look -> encode -> gate.changed -> compress -> pack -> outbox
                                                  │  │
                               caption ─> pack ───┘  └─ recent encodings, bounded ─> refine orders

With no edge node in reach, or none wanted, a frame enters the outbox as the caption that the device
itself has made of it. Every other frame enters it as a key payload; whether it leaves as a delta is
decided when it is sent (`aiflow.device.predictor`).
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.common.captioner import Request
from aiflow.common.codec import Tables, compress
from aiflow.common.encoder import Encoding
from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import Context, Kind, Local, Packet, RefineOrder, Why, pack, pack_local
from aiflow.device.budget import Budget
from aiflow.device.camera import Frame, Image
from aiflow.device.gate import Gate
from aiflow.device.local import Fallback
from aiflow.device.outbox import Entry
from aiflow.device.pixels import Pixels
from aiflow.device.stages import Stages

log = logging.getLogger(__name__)

MAX_RECENT: Final = 64
"""Most encodings kept for refine orders; a few hundred bytes each."""


NO_SYMBOLS: Final = np.zeros((0, 1), np.uint8)


class Shelf(Protocol):
    """One camera's way into the outbox."""

    def describe(self, descriptor: bytes) -> None: ...
    def put(self, build: Callable[[int], bytes]) -> Entry: ...


class Encodes(Protocol):
    """An encoder, or what stands in for one."""

    def encode(self, image: Image) -> Encoding: ...


@dataclass(frozen=True, slots=True)
class Coding:
    """What a stream's payloads are made with."""

    tables: Tables
    bundle_tag: bytes
    context: Context
    frame_bytes: int | None = None
    """With fewer layers than the budget allows if a payload would be longer."""
    fallback: Fallback | None = None
    """Without one, frames always go to an edge node."""
    pixels: Pixels | None = None
    """With it, frames go as pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class _Recent:
    symbols: NDArray[np.uint8]
    captured_ms: int
    layers: int
    """So many were sent at once."""


class Stream:
    """State of one session of one camera; used by one thread."""

    def __init__(
        self,
        gate: Gate,
        budget: Budget,
        encoder: Encodes,
        coding: Coding,
        shelf: Shelf,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self.budget = budget
        self._encoder = encoder
        self._coding = coding
        self._shelf = shelf
        self._counters = counters
        self._fallback = coding.fallback
        self._why: Why | None = None
        self._clock = clock
        self._recent: OrderedDict[int, _Recent] = OrderedDict()
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
        self.stages.add("capture", max(0.0, time.time() - frame.captured_at))
        self.looked_at += 1
        if not self.budget.allows(now):
            return None
        self._look_around()
        with self.stages.measure("gate"):
            reason = self._gate.look(frame.image, now)
        if reason is None:
            return None
        if self._coding.pixels is not None:
            return self._picture(self._coding.pixels, frame, now)
        with self.stages.measure("encode"):
            symbols = self._encoder.encode(frame.image).symbols
        self.encoded += 1
        thrift = self.budget.thrift
        sent = symbols[: self._coding.tables.layers[thrift.layers - 1]]
        if not self._gate.changed(sent, reason, thrift.symbols):
            return None
        captured_ms = self._captured_ms(frame)
        if self._fallback is not None and self._why is not None:
            entry = self._caption(self._fallback, self._why, symbols, captured_ms)
        else:
            entry = self._store(symbols, thrift.layers, captured_ms)
        self._gate.accepted(sent, now)
        self.budget.taken()
        self.accepted += 1
        return entry

    def _picture(self, pixels: Pixels, frame: Frame, now: float) -> Entry:
        """Put a frame into the outbox as it is. Nothing is encoded: its pixels decided."""
        with self.stages.measure("compress"):
            jpeg = pixels.jpeg(frame.image)
        captured_ms = self._captured_ms(frame)
        entry = self._put(
            lambda sequence: self._pack(Kind.IMAGE, sequence, captured_ms, jpeg, 0, 1)
        )
        self._gate.accepted(NO_SYMBOLS, now)
        self.budget.taken()
        self.accepted += 1
        return entry

    def refine(self, order: RefineOrder) -> bytes | None:
        """Carry out an order for layers: returns a payload to send, or None.

        Only layers that were not sent at once are. For a frame that is not remembered any more the
        next one passes the gate; over the budget nothing is sent. Raises PayloadMalformed for
        layers that the bundle does not have.
        """
        recent = self._recent.get(order.sequence)
        if recent is None:
            self._gate.order()
            self._answered("forgotten")
            return None
        stop = order.first_layer + order.layers
        first = max(order.first_layer, recent.layers)
        if first >= stop:
            self._answered("sent_before")
            return None
        if not self.budget.allows(self._clock()):
            self._answered("budget")
            return None
        layers = stop - first
        body = compress(recent.symbols, self._coding.tables, first_layer=first, layers=layers)
        self._answered("layers")
        return self._pack(Kind.REFINE, order.sequence, recent.captured_ms, body, first, layers)

    def _look_around(self) -> None:
        """When it changes who captions, the next frame is to be captioned at once."""
        why = None if self._fallback is None else self._fallback.why()
        if (why is None) != (self._why is None):
            self._gate.order()
        self._why = why

    def _caption(
        self, fallback: Fallback, why: Why, symbols: NDArray[np.uint8], captured_ms: int
    ) -> Entry:
        """Put a frame into the outbox as a caption of our own."""
        began = time.monotonic()
        with self.stages.measure("decode"):
            (draft,) = fallback.captions.caption([Request(symbols)])
        fallback.took(time.monotonic() - began)
        local = pack_local(Local(why, draft.confidence, draft.text))
        log.info("%s: %s (%.2f)", self._coding.context.camera, draft.text, draft.confidence)
        self._counters.add("aiflow_local_captions_total", why=why.name.lower())
        return self._put(
            lambda sequence: self._pack(Kind.LOCAL, sequence, captured_ms, local, 0, 1)
        )

    def _answered(self, how: str) -> None:
        self._counters.add("aiflow_refine_orders_total", answer=how)

    def _store(self, symbols: NDArray[np.uint8], layers: int, captured_ms: int) -> Entry:
        """Put a frame into the outbox with at most so many layers."""
        with self.stages.measure("compress"):
            recent, body = self._fitted(symbols, layers, captured_ms)
        entry = self._put(
            lambda sequence: self._pack(Kind.KEY, sequence, captured_ms, body, 0, recent.layers)
        )
        self._recent[entry.sequence] = recent
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return entry

    def _put(self, build: Callable[[int], bytes]) -> Entry:
        try:
            with self.stages.measure("store"):
                return self._shelf.put(build)
        except StorageError:
            self._counters.add("aiflow_frames_dropped_total", reason="storage")
            self._gate.order()
            raise

    def _fitted(
        self, symbols: NDArray[np.uint8], layers: int, captured_ms: int
    ) -> tuple[_Recent, bytes]:
        """The frame with as many layers as the limit for each frame allows, at least one."""
        tables, limit = self._coding.tables, self._coding.frame_bytes
        sequence = next(reversed(self._recent), 0)  # about: only its length counts
        while True:
            body = compress(symbols, tables, layers=layers)
            whole = self._pack(Kind.KEY, sequence, captured_ms, body, 0, layers)
            if layers == 1 or limit is None or len(whole) <= limit:
                return _Recent(symbols, captured_ms, layers), body
            layers -= 1

    def _captured_ms(self, frame: Frame) -> int:
        """Since the session's epoch; 0 if the wall clock was set back behind it."""
        return max(0, round(frame.captured_at * 1000) - self._coding.context.epoch_ms)

    def _pack(
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

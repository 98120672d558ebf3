"""The pipeline: one camera's frames from the lens to the uplink. No threads, no MQTT.

budget -> gate.look -> encode -> gate.changed -> uplink
                         │            └─ recent symbols, bounded ─> refine orders
                         └─> caption of our own, where no edge node is within reach ─> uplink
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.codec import Tables, compress
from aiflow.common.encoder import Encoder
from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import Context, Kind, Local, Packet, RefineOrder, Why, pack, pack_local
from aiflow.device.budget import Budget
from aiflow.device.camera import Frame
from aiflow.device.edge_health import EdgeHealth
from aiflow.device.gate import Gate
from aiflow.device.local_caption import Nano
from aiflow.device.outbox import CLOCK_S, Entry, Record
from aiflow.device.pixels import Pixels
from aiflow.device.stages import Stages
from aiflow.device.uplink import Uplink

log = logging.getLogger(__name__)

MAX_RECENT: Final = 64
"""Most encodings kept for refine orders; a few hundred bytes each."""
NO_SYMBOLS: Final = np.zeros((0, 1), np.uint8)


@dataclass(frozen=True, slots=True)
class Coding:
    """What a camera's payloads are made with."""

    tables: Tables
    bundle_tag: bytes
    device: str
    camera: str
    key: bytes | None = None
    frame_bytes: int | None = None
    """With fewer layers than the budget allows if a payload would be longer."""

    def context(self, epoch_ms: int) -> Context:
        return Context(self.device, self.camera, epoch_ms, self.key)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Captions of the device's own: always, or while the edge is not well."""

    nano: Nano
    health: EdgeHealth
    always: bool = False

    def why(self, camera: str, now: float) -> Why | None:
        return Why.ASKED if self.always else self.health.why(camera, now)


@dataclass(frozen=True, slots=True, eq=False)
class _Recent:
    symbols: NDArray[np.uint8]
    epoch_ms: int
    captured_ms: int
    layers: int
    """So many were sent at once."""


class Pipeline:
    """Used by its camera's thread alone."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        gate: Gate,
        budget: Budget,
        encoder: Encoder,
        coding: Coding,
        *,
        uplink: Uplink,
        stages: Stages,
        counters: Counters,
        fallback: Fallback | None = None,
        pixels: Pixels | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Without `fallback`, frames always go to an edge node; with `pixels`, as pictures."""
        self._gate = gate
        self.budget = budget
        self._encoder = encoder
        self._coding = coding
        self._uplink = uplink
        self.stages = stages
        self._counters = counters
        self._fallback = fallback
        self._pixels = pixels
        self._why: Why | None = None
        self._clock = clock
        self._wall_clock = wall_clock
        self._ahead_s = wall_clock() - clock()
        """Of the wall clock over the steady one, when the session began."""
        self._recent: OrderedDict[int, _Recent] = OrderedDict()
        self.looked_at = 0
        self.encoded = 0
        self.accepted = 0

    def renewed(self) -> bool:
        """Begin a new session if the clock has been set since the last one; whether it has.

        Raises StorageError.
        """
        ahead_s = self._wall_clock() - self._clock()
        parted_s = ahead_s - self._ahead_s
        if abs(parted_s) <= CLOCK_S:
            return False
        self._uplink.begin_session()
        self._ahead_s = ahead_s
        log.warning(
            "camera %s: the clock was set by %+.0f s: a new session begins",
            self._coding.camera,
            parted_s,
        )
        self._counters.add("aiflow_clock_steps_total")
        return True

    def describe(self, descriptor: bytes) -> None:
        """Keep with the frames what describes them, and say it, before the first of them.

        Raises StorageError; the frame that it was to be said of is then dropped, counted.
        """
        try:
            self._uplink.describe(descriptor)
        except StorageError:
            self._counters.add("aiflow_frames_dropped_total", reason="storage")
            raise

    def offer(self, frame: Frame) -> Entry | None:
        """Take a frame; None if it was not new enough.

        Raises StorageError when the outbox cannot hold it: it is dropped, counted, and the next
        frame passes the gate in its place.
        """
        now = self._clock()
        self.stages.add("capture", max(0.0, self._wall_clock() - frame.captured_at))
        self.looked_at += 1
        if not self.budget.allows(now):
            return None
        self._look_around(now)
        began = time.perf_counter()
        # In the encoder's size: for the gate it is large enough, and reduced only once.
        image = self._encoder.fitted(frame.image)
        reason = self._gate.look(image, now)
        looked = time.perf_counter()
        self.stages.add("gate", looked - began)
        if reason is None:
            return None
        if self._pixels is not None:
            return self._picture(self._pixels, frame, now)
        symbols = self._encoder.encode(image).symbols
        self.stages.add("encode", time.perf_counter() - looked)
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
        self._accepted(sent, now)
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
            self._count_order("forgotten")
            return None
        stop = order.first_layer + order.layers
        first = max(order.first_layer, recent.layers)
        if first >= stop:
            self._count_order("sent_before")
            return None
        if not self.budget.allows(self._clock()):
            self._count_order("budget")
            return None
        layers = stop - first
        body = compress(recent.symbols, self._coding.tables, first_layer=first, layers=layers)
        self._count_order("layers")
        packet = Packet(
            Kind.REFINE,
            self._coding.bundle_tag,
            order.sequence,
            recent.captured_ms,
            body,
            first,
            layers,
        )
        return pack(packet, self._coding.context(recent.epoch_ms))

    def _look_around(self, now: float) -> None:
        """When it changes who captions, the next frame is to be captioned at once."""
        why = None if self._fallback is None else self._fallback.why(self._coding.camera, now)
        if (why is None) != (self._why is None):
            self._gate.order()
        self._why = why

    def _picture(self, pixels: Pixels, frame: Frame, now: float) -> Entry:
        """Put a frame into the outbox as it is. Nothing is encoded: its pixels decided."""
        began = time.perf_counter()
        jpeg = pixels.jpeg(frame.image)
        self.stages.add("compress", time.perf_counter() - began)
        entry = self._put(Record(Kind.IMAGE, self._captured_ms(frame), jpeg))
        self._accepted(NO_SYMBOLS, now)
        return entry

    def _caption(
        self, fallback: Fallback, why: Why, symbols: NDArray[np.uint8], captured_ms: int
    ) -> Entry:
        """Put a frame into the outbox as a caption of our own."""
        began = time.perf_counter()
        draft = fallback.nano.caption(symbols)
        seconds = time.perf_counter() - began
        self.stages.add("decode", seconds)
        fallback.health.captioned(seconds)
        log.info("%s: %s (%.2f)", self._coding.camera, draft.text, draft.confidence)
        self._counters.add("aiflow_local_captions_total", why=why.name.lower())
        local = pack_local(Local(why, draft.confidence, draft.text))
        return self._put(Record(Kind.LOCAL, captured_ms, local))

    def _store(self, symbols: NDArray[np.uint8], layers: int, captured_ms: int) -> Entry:
        """Put a frame into the outbox with at most so many layers."""
        layers = self._fitting(symbols, layers, captured_ms)
        body = symbols[: self._coding.tables.layers[layers - 1]].tobytes()
        entry = self._put(Record(Kind.KEY, captured_ms, body, layers))
        recent = _Recent(symbols, entry.epoch_ms, captured_ms, layers)
        self._recent[entry.sequence] = recent
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return entry

    def _fitting(self, symbols: NDArray[np.uint8], layers: int, captured_ms: int) -> int:
        """As many layers as the limit for each frame allows, at least one."""
        coding, limit = self._coding, self._coding.frame_bytes
        if limit is None:
            return layers
        sequence = next(reversed(self._recent), 0)  # about: only its length counts
        context = coding.context(self._uplink.epoch_ms)
        while layers > 1:
            body = compress(symbols, coding.tables, layers=layers)
            key = Packet(Kind.KEY, coding.bundle_tag, sequence, captured_ms, body, layers=layers)
            if len(pack(key, context)) <= limit:
                break
            layers -= 1
        return layers

    def _put(self, record: Record) -> Entry:
        try:
            return self._uplink.put(record)
        except StorageError:
            self._counters.add("aiflow_frames_dropped_total", reason="storage")
            self._gate.order()
            raise

    def _accepted(self, sent: NDArray[np.uint8], now: float) -> None:
        self._gate.accepted(sent, now)
        self.budget.taken()
        self.accepted += 1

    def _captured_ms(self, frame: Frame) -> int:
        """Since the session's epoch; 0 if the wall clock was set back behind it."""
        return max(0, round(frame.captured_at * 1000) - self._uplink.epoch_ms)

    def _count_order(self, how: str) -> None:
        self._counters.add("aiflow_refine_orders_total", answer=how)

"""The uplink: one camera's frames from the gate to the broker, and what becomes of them there.

    put ─> outbox (disk) ─> window ─> compress ─> publish ─> broker
                              │  ^                              │
             again, later <───┘  └── room <── forgotten <── receipt

A frame waits in memory as well as on disk, and is read from the disk only after a restart, or when
more wait than `MAX_REMEMBERED`. It is sent at once by whoever puts it, where the window has room;
else by the send loop. It is sent again when its timer ends (`resend_after_s`, doubled each time),
and when the connection or an edge node comes back. What the broker says about a publish decides
nothing here: custody ends with a receipt, whatever was acknowledged.

Frames of an earlier session go first, and those of the next one when the last receipt has come:
an edge node reads payloads by the latest descriptor.

One file, longer than most: all of it is one state under one lock, and three threads meet here.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aiflow.common.mqtt import Reason
from aiflow.common.wire import Kind
from aiflow.device.budget import Budget
from aiflow.device.camera_topics import CameraTopics
from aiflow.device.compress import Compressor
from aiflow.device.edge_health import EdgeHealth
from aiflow.device.local_caption import LocalCaptions
from aiflow.device.outbox import Entry, Outbox, Record
from aiflow.device.stages import Stages

log = logging.getLogger(__name__)

RETRY_S: Final = 1.0
"""Pause after the connection took no more."""
TICK_S: Final = 2.0
"""How long a receipted frame may stay on the disk when no other comes that takes it along."""
MAX_REMEMBERED: Final = 256
"""Most frames that wait in memory to be sent; further ones are read from the disk."""
SESSION_S: Final = 60.0
"""A session that is over is given up when the edge has taken nothing of it for so long."""


@dataclass(frozen=True, slots=True)
class Sending:
    """How frames leave."""

    window: int
    """Most of them sent and without a receipt."""
    resend_after_s: float
    resend_max_s: float


@dataclass(slots=True)
class _Flight:
    """A frame that was sent and has no receipt yet."""

    entry: Entry
    due: float
    sent_at: float = math.inf
    """For the first time in this connection."""
    attempts: int = 1
    is_delta: bool = False


@dataclass(slots=True)
class _Memory:
    """Frames that wait to be sent, the oldest first, as far as they fit."""

    entries: OrderedDict[int, Entry] = field(default_factory=OrderedDict)
    missing: int = -1
    """Up to this sequence, frames may be on the disk alone."""

    def add(self, entry: Entry) -> None:
        self.entries[entry.sequence] = entry
        if len(self.entries) > MAX_REMEMBERED:
            self.missing, _ = self.entries.popitem(last=False)

    def after(self, sequence: int, limit: int, gone: int) -> list[Entry] | None:
        """None if the disk has to be asked."""
        if sequence < self.missing:
            return None
        while self.entries and next(iter(self.entries)) <= gone:
            self.entries.popitem(last=False)
        found = (entry for number, entry in self.entries.items() if number > sequence)
        return [entry for entry, _ in zip(found, range(limit), strict=False)]


class Uplink:
    """One camera's; any thread may call.

    Its lock is not held while the disk works, but for a change of session.
    """

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        camera: str,
        identity: str,
        *,
        outbox: Outbox,
        topics: CameraTopics,
        local: LocalCaptions,
        health: EdgeHealth,
        budget: Budget,
        stages: Stages,
        sending: Sending,
        compressor: Callable[[int], Compressor],
        work: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Go on with the camera's session in the outbox, or begin one. Raises StorageError.

        `identity` is what payloads are bound to besides camera and session; `compressor` makes
        that of an epoch. `work` is set when the send loop is to take a turn.
        """
        self._camera = camera
        self._identity = identity
        self._outbox = outbox
        self._topics = topics
        self._local = local
        self._health = health
        self._budget = budget
        self._stages = stages
        self._sending = sending
        self._new_compressor = compressor
        self._work = work
        self._clock = clock
        self._lock = threading.Lock()  # over all that follows
        self._flights: dict[int, _Flight] = {}
        self._memory = _Memory()
        self._covered: list[int] = []
        """Receipted, and still on the disk."""
        self._captioned = -1
        """Up to here, captions of our own are published."""
        self._ask_broker = True
        self._receipt_at = clock()
        self.sent = 0
        self.resent = 0
        self.receipted = 0
        state = outbox.begin(camera, identity, _now_ms())
        self.epoch_ms = state.epoch_ms
        """Of the session that new frames belong to."""
        self._newest = self._stored = state.next_sequence - 1
        """The latest frame that was sent, and that was stored."""
        self._sent_epoch_ms = state.epoch_ms
        if state.waiting:
            log.info("camera %s: %d frames wait in the outbox", camera, state.waiting)
            self._newest, self._memory.missing = -1, self._stored
            self._sent_epoch_ms = outbox.after(camera, -1, 1)[0].epoch_ms
        self._compressor = compressor(self._sent_epoch_ms)
        self._announce()

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    # The camera's thread.

    def begin_session(self) -> None:
        """New frames belong to a new session from now on. Raises StorageError."""
        state = self._outbox.begin(self._camera, self._identity, _now_ms(), anew=True)
        with self._lock:
            self.epoch_ms = state.epoch_ms
            self._receipt_at = self._clock()
            if not self._flights and self._newest == self._stored:
                self._turn_to(self.epoch_ms)

    def describe(self, descriptor: bytes) -> None:
        """Say what the frames are from now on, and keep it with them. Raises StorageError."""
        self._outbox.describe(self._camera, self.epoch_ms, descriptor)
        with self._lock:
            if self._sent_epoch_ms == self.epoch_ms:
                self._topics.descriptor(descriptor)

    def put(self, record: Record) -> Entry:
        """Accept a frame, and send it if it may go at once. Raises StorageError."""
        with self._lock:
            covered, self._covered = self._covered, []
        began = time.perf_counter()
        try:
            entry = self._outbox.put(self._camera, record, covered)
        except BaseException:
            with self._lock:
                self._covered = covered + self._covered
            raise
        self._stages.add("store", time.perf_counter() - began)
        now = self._clock()
        with self._lock:
            before, self._stored = self._stored, entry.sequence
            self._memory.add(entry)
            if (
                self._newest != before
                or not self._may_go(entry)
                or self._health.wait_s(now) > 0
                or not self._send_new(entry, now)
            ):
                self._work.set()
        return entry

    # The network thread.

    def again(self) -> None:
        """Whatever has no receipt yet is to be sent again now."""
        now = self._clock()
        with self._lock:
            for flight in self._flights.values():
                flight.due, flight.attempts, flight.is_delta = now, 0, False
                flight.sent_at = math.inf
            self._compressor.reset()
            self._ask_broker = True
            self._captioned = -1
            self._receipt_at = now

    def key_frames(self) -> None:
        """A delta could not be read: those without a receipt are to go as key frames now."""
        now = self._clock()
        with self._lock:
            for flight in self._flights.values():
                if flight.is_delta:
                    flight.due, flight.attempts, flight.is_delta = now, 0, False
                    flight.sent_at = math.inf
            self._compressor.reset()
        self._work.set()

    def receipt(self, ranges: Sequence[range]) -> None:
        """Their captions are published. Only what was sent can be covered."""
        now = self._clock()
        with self._lock:
            covered = [one for one in self._flights if any(one in run for run in ranges)]
            if not covered:
                return
            was_full = len(self._flights) >= self._sending.window
            self._receipt_at = now
            self._health.receipted(self._camera, now)
            self._compressor.receipted(covered)
            self._forget(covered)
            if was_full or self._sent_epoch_ms != self.epoch_ms:
                self._work.set()

    def captioned(self, sequence: int) -> None:
        """The broker has accepted the frame's own caption."""
        with self._lock:
            self._forget([sequence])

    # The send loop.

    def step(self) -> float:
        """Send all that is due; seconds until there is more to do by time alone."""
        now = self._clock()
        self._next_session(now)
        room = self._sending.window - len(self._flights)
        found = self._after(self._newest, room) if room > 0 else []
        with self._lock:
            done = self._send_due(now) and all(
                self._send_new(entry, now)
                for entry in found
                # Another thread may have sent it meanwhile.
                if entry.sequence > self._newest and self._may_go(entry)
            )
            due = min((flight.due for flight in self._flights.values()), default=math.inf)
        return min(due - now, TICK_S, self._sending.resend_after_s) if done else RETRY_S

    def publish_captions(self) -> float:
        """No edge node is there: publish captions of our own; seconds until it is to go on."""
        while entries := self._after(self._captioned, self._sending.window):
            for entry in entries:
                if entry.record.kind is Kind.LOCAL:
                    with self._lock:
                        payload_bytes = len(self._compressor.alone(entry))
                    on_accepted = partial(self.captioned, entry.sequence)
                    size = self._local.publish(entry, payload_bytes, on_accepted)
                    if size == 0:
                        return RETRY_S
                    self._budget.sent(size)
                with self._lock:
                    self._captioned = max(self._captioned, entry.sequence)
        return math.inf

    def flush(self) -> None:
        """Take receipted frames from the disk. Raises StorageError."""
        with self._lock:
            covered, self._covered = self._covered, []
        if covered:
            try:
                self._outbox.remove(self._camera, covered)
            except BaseException:
                with self._lock:
                    self._covered = covered + self._covered
                raise

    def _after(self, sequence: int, limit: int) -> list[Entry]:
        """Frames with higher sequences, sent or not, the lowest first."""
        with self._lock:
            waiting = self._memory.after(sequence, limit, self._outbox.gone(self._camera))
            if waiting is not None:
                sent = [one.entry for number, one in self._flights.items() if number > sequence]
                return (sent + waiting)[:limit]
        self.flush()  # what is covered is not to be found there
        return self._outbox.after(self._camera, sequence, limit)

    def _next_session(self, now: float) -> None:
        """Go over to the session of the next frame, once the one before has its receipts."""
        if self._sent_epoch_ms == self.epoch_ms:
            return
        if self._health.deserted(now):
            self._receipt_at = now  # nobody is there who could have taken it
        stuck = now - self._receipt_at > SESSION_S
        if self._flights and not stuck:
            return
        self.flush()
        left = self._outbox.after(self._camera, self._newest, 1)
        if self._flights or (left and left[0].epoch_ms == self._sent_epoch_ms and stuck):
            self._outbox.drop_session(self._camera, self._sent_epoch_ms)
            left = self._outbox.after(self._camera, -1, 1)
        epoch_ms = left[0].epoch_ms if left else self.epoch_ms
        with self._lock:
            if epoch_ms != self._sent_epoch_ms:
                self._flights.clear()
                self._turn_to(epoch_ms)

    # Under the lock.

    def _turn_to(self, epoch_ms: int) -> None:
        self._sent_epoch_ms = epoch_ms
        self._compressor = self._new_compressor(epoch_ms)
        self._announce()

    def _announce(self) -> None:
        descriptor = self._outbox.descriptor(self._camera, self._sent_epoch_ms)
        if descriptor is not None:
            self._topics.descriptor(descriptor)

    def _may_go(self, entry: Entry) -> bool:
        return entry.epoch_ms == self._sent_epoch_ms and len(self._flights) < self._sending.window

    def _forget(self, sequences: Sequence[int]) -> None:
        for sequence in sequences:
            self._flights.pop(sequence, None)
            self._memory.entries.pop(sequence, None)
        self.receipted += len(sequences)
        self._covered += sequences

    def _send_due(self, now: float) -> bool:
        gone = self._outbox.gone(self._camera)
        for sequence, flight in list(self._flights.items()):
            if sequence <= gone:  # dropped by the outbox's bounds
                del self._flights[sequence]
            elif flight.due <= now:
                size = self._publish(self._compressor.alone(flight.entry), ask_broker=True)
                if size == 0:
                    return False
                self._budget.spend(size)
                self.resent += 1
                self._noted(flight, now)
        return True

    def _send_new(self, entry: Entry, now: float) -> bool:
        """False if the connection takes no more."""
        began = time.perf_counter()
        payload, is_delta = self._compressor.first(entry, now)
        self._stages.add("compress", time.perf_counter() - began)
        size = self._publish(payload, ask_broker=self._ask_broker, timed_at=now)
        if size == 0:
            return False
        self._budget.sent(size)
        self.sent += 1
        self._newest = entry.sequence
        self._memory.entries.pop(entry.sequence, None)
        flight = _Flight(entry, now, attempts=0, is_delta=is_delta)
        self._flights[entry.sequence] = flight
        self._noted(flight, now)
        return True

    def _noted(self, flight: _Flight, now: float) -> None:
        """It was sent."""
        self._ask_broker = False
        if flight.sent_at == math.inf:
            flight.sent_at = now
            self._health.sent(self._camera, now)
        doubled = self._sending.resend_after_s * 2.0 ** min(flight.attempts, 30)
        longest = max(self._sending.resend_after_s, self._sending.resend_max_s)
        flight.attempts += 1
        flight.due = now + min(longest, doubled)

    def _publish(self, payload: bytes, *, ask_broker: bool, timed_at: float | None = None) -> int:
        """The bytes that it costs; 0 if the connection takes no more."""
        began = time.perf_counter()
        if timed_at is None or not self._health.wants_ack(timed_at):
            size = self._topics.embedding(payload, ask_broker=ask_broker)
        else:
            on_accepted = partial(self._acknowledged, self._health.asked(timed_at))
            size = self._topics.embedding(payload, ask_broker=ask_broker, on_accepted=on_accepted)
            if size == 0:
                self._health.not_asked()
        self._stages.add("publish", time.perf_counter() - began)
        return size

    def _acknowledged(self, asked: int, reason: Reason | None) -> None:
        """By the broker."""
        if reason is not None:
            self._health.acknowledged(asked, self._clock())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

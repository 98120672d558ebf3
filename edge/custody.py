"""Custody of frames: taken once, given back by a receipt only when the caption is out.

    admit -> (queue, decode, publish) -> captioned -> ledger -> receipt
          `-> release: nothing came of it; the device will send it again

Touches the ledger and the receipt topics.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from aiflow.common.errors import StorageError
from aiflow.common.mean import Mean
from aiflow.common.metrics import Counters, Faults
from aiflow.common.mqtt import Outgoing, Publish
from aiflow.common.topics import Topics
from aiflow.common.wire import pack_receipts
from aiflow.edge.ledger import Ledger
from aiflow.edge.received import FrameKey, StreamKey
from aiflow.edge.timers import Timers

log = logging.getLogger(__name__)

MAX_HELD: Final = 8192
RECEIPT_FRAMES: Final = 8
"""So many frames of a stream are worth a receipt before its time: a busy camera waits less."""
HOLD_S: Final = 30.0
"""A frame held this long without a caption is taken again: its acknowledgement went missing."""


class Custody:
    """Which frames are in hand, which are captioned, and which receipts are owed.

    Receipts of one stream are gathered for `receipt_every_s`, or until there are enough, and sent
    as ranges, with the delay of the moment. Any thread may call any method; the ledger is
    written by the thread that runs the timers.
    """

    def __init__(
        self,
        ledger: Ledger,
        publish: Publish,
        topics: Topics,
        timers: Timers,
        counters: Counters,
        *,
        receipt_every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger = ledger
        self._publish = publish
        self._topics = topics
        self._timers = timers
        self._counters = counters
        self._faults = Faults(counters, "aiflow_storage_errors_total", log)
        self._receipt_every_s = receipt_every_s
        self.delay_s = Mean()
        """From a frame's arrival to its caption at present, seconds; the decoder measures it."""
        self._clock = clock
        self._lock = threading.Lock()
        self._emptied = threading.Condition(self._lock)
        self._held: dict[FrameKey, float] = {}
        self._unsettled: list[FrameKey] = []
        self._owed: dict[StreamKey, set[int]] = {}

    def admit(self, frame: FrameKey) -> bool:
        """Take a frame in hand; False if it is there already or captioned.

        A captioned one is receipted again: its first receipt was lost, or it crossed the resend.
        """
        now = self._clock()
        with self._lock:
            held_since = self._held.get(frame)
            if held_since is not None and now - held_since < HOLD_S:
                self._counters.add("aiflow_duplicates_total", reason="in_hand")
                return False
            if frame not in self._ledger:
                self._held.pop(frame, None)  # the oldest stand first
                self._held[frame] = now
                if len(self._held) > MAX_HELD:
                    del self._held[next(iter(self._held))]
                return True
        self._counters.add("aiflow_duplicates_total", reason="captioned")
        self._owe([frame])
        return False

    def release(self, frame: FrameKey) -> None:
        """Let go of a frame that got no caption; when it comes again it is taken again."""
        with self._lock:
            self._let_go([frame])

    def captioned(self, frame: FrameKey) -> None:
        """The broker has accepted the frame's caption: write the ledger, then owe a receipt."""
        with self._lock:
            self._unsettled.append(frame)
            first = len(self._unsettled) == 1
        if first:
            self._timers.after(0.0, self.settle)

    def settle(self) -> None:
        """Write what was captioned since the last time, in one transaction.

        A ledger that cannot be written does not hold back receipts: the captions are published, and
        that is what a receipt promises. Memory still knows them; only a restart would forget.
        """
        with self._lock:
            frames, self._unsettled = self._unsettled, []
        if not frames:
            return
        try:
            self._ledger.mark(frames)
        except StorageError as error:
            self._faults.record("ledger", error)
        with self._lock:
            self._let_go(frames)
        self._owe(frames)

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until no frame is in hand; False if some are by then."""
        with self._emptied:
            return self._emptied.wait_for(lambda: not self._held, timeout_s)

    def close(self) -> None:
        """Settle and send all receipts that are owed, without waiting for their time."""
        self.settle()
        with self._lock:
            owed = list(self._owed.items())
        for stream, sequences in owed:
            self._receipt(stream, sequences)

    def owes(self, stream: StreamKey) -> set[int]:
        """Sequences whose receipt is still to be sent."""
        with self._lock:
            return set(self._owed.get(stream, ()))

    @property
    def held(self) -> int:
        """How many frames are in hand."""
        with self._lock:
            return len(self._held)

    def _let_go(self, frames: list[FrameKey]) -> None:
        """The lock is held."""
        for frame in frames:
            self._held.pop(frame, None)
        if not self._held:
            self._emptied.notify_all()

    def _owe(self, frames: list[FrameKey]) -> None:
        timed: list[tuple[float, StreamKey, set[int]]] = []
        with self._lock:
            for frame in frames:
                owed = self._owed.get(frame.stream)
                if owed is None:
                    owed = self._owed[frame.stream] = set()
                    timed.append((self._receipt_every_s, frame.stream, owed))
                owed.add(frame.sequence)
                if len(owed) == RECEIPT_FRAMES:
                    timed.append((0.0, frame.stream, owed))
        for delay_s, stream, owed in timed:
            self._timers.after(delay_s, partial(self._receipt, stream, owed))

    def _receipt(self, stream: StreamKey, owed: set[int]) -> None:
        """Send what is owed, unless that has been done before its time."""
        with self._lock:
            if self._owed.get(stream) is not owed:
                return
            del self._owed[stream]
        topic = self._topics.receipt(stream.device, stream.camera)
        for receipt in pack_receipts(owed, self.delay_s.known()):
            # One that is lost is asked for: the device sends its frames again.
            if self._publish(Outgoing(topic, receipt)):
                self._counters.add("aiflow_receipts_total")

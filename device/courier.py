"""The thread that drives all senders of a device: it sleeps until something happens or is due.

Others tell it what happened by `post`: a receipt, a connection, an edge node. So senders and their
outbox work never run on the network thread, and need no locks.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters, Faults
from aiflow.common.mqtt import Reason
from aiflow.common.watchdog import Pulse
from aiflow.common.wire import Receipt, Why
from aiflow.device.line import Line
from aiflow.device.reach import Reach
from aiflow.device.sender import RETRY_S, Peers, Sender

log = logging.getLogger(__name__)

MAX_POSTED: Final = 1024


class Courier:
    """Drives the senders, by camera, between `start` and `stop`."""

    def __init__(
        self,
        counters: Counters,
        on_storage_fault: Callable[[StorageError], None],
        line: Line | None = None,
    ) -> None:
        self.line = line
        """What is measured of the way to an edge node; None where that decides nothing."""
        self._senders: dict[str, Sender] = {}
        self._reaches: dict[str, Reach] = {}
        self._counters = counters
        self._faults = Faults(counters, "aiflow_outbox_faults_total", log)
        self._on_storage_fault = on_storage_fault
        self._peers = Peers(time.monotonic())
        self._changed = threading.Condition()
        self._posted: deque[Callable[[float], None]] = deque()
        self._woken = False
        self._stopping = False
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def add(self, camera: str, sender: Sender, reach: Reach) -> None:
        """Before `start`."""
        self._senders[camera] = sender
        self._reaches[camera] = reach

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def wake(self) -> None:
        """There is a new frame in the outbox."""
        with self._changed:
            self._woken = True
            self._changed.notify()

    def ask(self) -> None:
        """Want a turn that is not ended by a fault of ours; one without a broker will do."""
        self.pulse.ask()
        self.wake()

    def connected(self) -> None:
        self._post(self._connected)

    def disconnected(self) -> None:
        self._post(self._disconnected)

    def answered(self, asked: int, reason: Reason | None) -> None:
        """The broker's answer to a frame that had asked for one."""
        if reason is not None:
            self._post(lambda now: self._answered(asked, now))

    def captioned(self, seconds: float) -> None:
        """A caption of the device's own took so long."""
        if self.line is not None:
            line = self.line
            self._post(lambda _: line.own_s.add(seconds))

    def node(self, name: str, *, online: bool) -> None:
        """An edge node says that it is online or offline."""
        self._post_if_room(lambda now: self._node(name, online, now))

    def receipt(self, camera: str, receipt: Receipt) -> None:
        """The captions of these frames are published."""
        self._post_if_room(lambda now: self._receipt(camera, receipt, now))

    def published(self, camera: str, sequence: int) -> None:
        """The broker has accepted a caption of the device's own."""
        self._post(lambda _: self._senders[camera].published(sequence))

    def key_frames(self, camera: str) -> None:
        """The edge node could not read a delta of that camera."""
        self._post_if_room(self._senders[camera].key_frames)

    def _post_if_room(self, event: Callable[[float], None]) -> None:
        """What comes from others is bounded: a lost receipt only makes frames go once more."""
        if len(self._posted) >= MAX_POSTED:
            self._counters.add("aiflow_orders_dropped_total")
        else:
            self._post(event)

    def _post(self, event: Callable[[float], None]) -> None:
        with self._changed:
            self._posted.append(event)
            self._changed.notify()

    def _receipt(self, camera: str, receipt: Receipt, now: float) -> None:
        self._senders[camera].receipt(receipt.ranges, now)
        if self.line is not None:
            self.line.edge_s.add(receipt.delay_s)

    def _answered(self, asked: int, now: float) -> None:
        if self.line is not None and self.line.answered(asked, now):
            # What was sent into a dead link says nothing of the edge node behind it.
            for sender in self._senders.values():
                sender.through(now)

    def _disconnected(self, now: float) -> None:
        self._peers.disconnected(now)
        if self.line is not None:
            self.line.lost()

    def _connected(self, now: float) -> None:
        self._peers.connected(now)
        self._again(now)

    def _node(self, name: str, online: bool, now: float) -> None:  # noqa: FBT001 - of an event
        if self._peers.node(name, now, online=online):
            log.info("edge node %s is online", name)
            self._again(now)

    def _again(self, now: float) -> None:
        for sender in self._senders.values():
            sender.again(now)

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._posted or self._woken or self._stopping,
                    None if pause_s == math.inf else max(0.0, pause_s),
                )
                if self._stopping:
                    return
                self._woken = False
            try:
                pause_s = self._turn()
            except StorageError as error:
                self._faults.record("storage", error)
                self._on_storage_fault(error)
                pause_s = RETRY_S
            except Exception:
                # The outermost loop of this thread.
                log.exception("sending failed by a fault of ours")
                pause_s = RETRY_S
                continue
            self.pulse.beat()

    def _turn(self) -> float:
        while self._posted:
            self._posted.popleft()(time.monotonic())
        now = time.monotonic()
        pause_s = self._peers.wait_s(now)
        if pause_s <= 0:
            pause_s = min((sender.step(now) for sender in self._senders.values()), default=math.inf)
        if self._peers.deserted(now):
            pause_s = min(pause_s, *(sender.tell() for sender in self._senders.values()), math.inf)
        return min(pause_s, *(self._look(camera, now) for camera in self._senders), math.inf)

    def _look(self, camera: str, now: float) -> float:
        """Tell a camera whether an edge node is within reach; seconds until that may change."""
        troubles = self._peers.troubles()
        sender = self._senders[camera]
        silent_since = sender.silent_since()
        if not troubles:
            if self.line is not None:
                troubles = self.line.troubles(now)
            if silent_since < math.inf:
                troubles[Why.SILENCE] = silent_since
        return self._reaches[camera].update(now, troubles, sender.receipt_at)

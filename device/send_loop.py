"""The send loop: one thread that sends what could not go at once, and again what has no receipt.

It sleeps until somebody sets `work` or something is due. A fresh frame usually leaves without it,
on its camera's own thread.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters, Faults
from aiflow.common.watchdog import Pulse
from aiflow.device.edge_health import EdgeHealth
from aiflow.device.uplink import RETRY_S, TICK_S, Uplink

log = logging.getLogger(__name__)

STOP_S: Final = 2.0


class SendLoop:
    """Drives the uplinks, by camera, between `start` and `stop`."""

    def __init__(
        self,
        uplinks: Mapping[str, Uplink],
        health: EdgeHealth,
        work: threading.Event,
        counters: Counters,
        on_storage_fault: Callable[[StorageError], None],
    ) -> None:
        """`on_storage_fault` is called on the loop's thread."""
        self._uplinks = uplinks
        self._health = health
        self._work = work
        self._faults = Faults(counters, "aiflow_outbox_faults_total", log)
        self._on_storage_fault = on_storage_fault
        self._stopping = False
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._run, name="send loop", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, and take what is receipted from the disk."""
        self._stopping = True
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(timeout=STOP_S)
        with contextlib.suppress(StorageError):  # what comes back is sent again
            for uplink in self._uplinks.values():
                uplink.flush()

    def ask(self) -> None:
        """Want a turn that is not ended by a fault of ours; one without a broker will do."""
        self.pulse.ask()
        self._work.set()

    # The network thread; each is short.

    def connected(self) -> None:
        for uplink in self._uplinks.values():
            uplink.again()
        self._health.connected_again(time.monotonic())  # from now on frames are sent
        self._work.set()

    def disconnected(self) -> None:
        self._health.disconnected(time.monotonic())
        self._work.set()

    def node(self, name: str, *, online: bool) -> None:
        """An edge node says that it is online or offline."""
        if self._health.node(name, time.monotonic(), online=online):
            log.info("edge node %s is online", name)
            for uplink in self._uplinks.values():
                uplink.again()
        self._work.set()

    # The loop's thread.

    def _run(self) -> None:
        pause_s = 0.0
        while not self._stopping:
            self._work.wait(None if pause_s == math.inf else max(0.0, pause_s))
            self._work.clear()
            try:
                pause_s = self._turn()
            except StorageError as error:
                self._faults.record("storage", error)
                self._on_storage_fault(error)
                pause_s = RETRY_S
            except Exception as error:  # noqa: BLE001 - outermost loop of this thread
                self._faults.bug(error)
                pause_s = RETRY_S
                continue
            self.pulse.beat()

    def _turn(self) -> float:
        """Seconds until the next one."""
        now, uplinks = time.monotonic(), self._uplinks.values()
        for uplink in uplinks:
            uplink.flush()
        pause_s = self._health.wait_s(now)
        if pause_s <= 0:
            pause_s = min((uplink.step() for uplink in uplinks), default=math.inf)
        if self._health.deserted(now):
            captions = (uplink.publish_captions() for uplink in uplinks)
            pause_s = min(pause_s, TICK_S, *captions)
        return pause_s

"""The device daemon's life: opened in order, served until a signal, closed in reverse."""

from __future__ import annotations

import gc
import logging
import os
import queue

import cv2

from aiflow.common.bundle import Bundle
from aiflow.common.encoder import Encoder
from aiflow.common.errors import AiflowError
from aiflow.common.exposition import exposed
from aiflow.common.metrics import Counters
from aiflow.common.notify import Notifier
from aiflow.common.signals import caught_signals
from aiflow.common.watchdog import Watchdog
from aiflow.device.config import DeviceConfig, outbox_path
from aiflow.device.daemon import Device
from aiflow.device.launch import Launches
from aiflow.device.outbox import Outbox

log = logging.getLogger(__name__)


def run(config: DeviceConfig, launches: Launches) -> None:
    """Serve until SIGTERM or SIGINT; then say goodbye and return. Call it on the main thread.

    `launches` has started the cameras' processes; whoever made it ends those that are left. A
    camera or a broker that is missing is waited for. Raises an AiflowError for what is wrong from
    the start (configuration, bundle, runtime, outbox), and StorageError if the outbox turns out
    corrupt on the way: the next start moves it aside.
    """
    fatal: queue.SimpleQueue[AiflowError] = queue.SimpleQueue()
    bounds = config.outbox
    with caught_signals() as signals:

        def on_fatal(fault: AiflowError) -> None:
            fatal.put(fault)
            signals.put(0)

        cv2.setNumThreads(1)  # a picture is small: more threads would only wait for each other
        bundle = Bundle.open(config.bundle_name)
        encoder = Encoder.load(bundle, config.runtime, config.threads, config.provider)
        counters = Counters()
        with (
            Outbox(
                outbox_path(config),
                max_entries=bounds.max_entries,
                max_bytes=bounds.max_bytes,
                counters=counters,
            ) as outbox,
            Device(config, bundle, encoder, outbox, counters, on_fatal, launches) as device,
            exposed(config.metrics, bundle.id, counters, device.readings),
        ):
            log.info(
                "device %s encodes with bundle %s by %s on %s",
                *(config.device, bundle.id[:12], config.runtime, config.provider),
            )
            log.info("bundle %s: %s", bundle.manifest.name, bundle.manifest.license)
            gc.freeze()  # what is here now stays: no collection need look through it again
            _serve(device, config.stats_every_s, signals)
    log.info("device %s has stopped; %d frames wait in its outbox", config.device, outbox.entries)
    if not fatal.empty():
        raise fatal.get()
    if device.hangs:
        _leave()


def _leave() -> None:
    """End the process with status 0 although a camera's thread hangs.

    At the interpreter's own end such a thread could wake up in C++ code and abort the process.
    """
    logging.shutdown()
    os._exit(0)


def _serve(device: Device, stats_every_s: float, ended: queue.SimpleQueue[int]) -> None:
    notifier = Notifier.from_environment()
    notifier.ready(device.status())
    watchdog = Watchdog(device, notifier)
    while not watchdog.wait(ended, stats_every_s):
        device.publish_stats()
    notifier.stopping("saying goodbye")

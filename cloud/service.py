"""The cloud worker's life: opened in order, served until a signal, closed in reverse."""

from __future__ import annotations

import logging

import numpy as np

from aiflow.cloud.config import CloudConfig
from aiflow.cloud.node import CloudNode
from aiflow.common.bundle import Bundle, BundleCoding
from aiflow.common.captioner import Captioner, Request
from aiflow.common.exposition import exposed
from aiflow.common.notify import Notifier
from aiflow.common.signals import caught_signals
from aiflow.common.watchdog import Watchdog

log = logging.getLogger(__name__)


def run(config: CloudConfig) -> None:
    """Serve until SIGTERM or SIGINT; then say goodbye and return. Call it on the main thread.

    A broker that is away or refuses is waited for. Raises an AiflowError for what is wrong from the
    start: bundle, certificates.
    """
    with caught_signals() as signals:
        bundle = Bundle.open(config.bundle)
        captions = Captioner(bundle, "cloud", config.threads)
        # The first run of a model is the slowest; better now than with somebody's first request.
        captions.caption([Request(np.zeros((bundle.tokens, bundle.dims), np.uint8))])
        with (
            CloudNode(config, BundleCoding(bundle.id, bundle.tag, bundle.tables), captions) as node,
            exposed(config.metrics, bundle.id, node.counters, node.readings),
        ):
            log.info("cloud worker %s serves pool %s", config.worker, config.pool)
            notifier = Notifier.from_environment()
            notifier.ready(node.status())
            Watchdog(node, notifier).wait(signals)
            notifier.stopping("finishing the batch in hand")
    log.info("cloud worker %s has stopped", config.worker)

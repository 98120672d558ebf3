"""The cloud worker's life: opened in order, served until a signal, closed in reverse."""

from __future__ import annotations

import logging

from aiflow.cloud.config import CloudConfig
from aiflow.cloud.node import CloudNode
from aiflow.common.bundle import BundleCoding, open_bundles
from aiflow.common.captioner import warm_captioners
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
        bundles = open_bundles(config.bundle)
        captions = warm_captioners(bundles, "cloud", config.threads)
        codings = [BundleCoding.of(bundle) for bundle in bundles]
        ids = ", ".join(bundle.id for bundle in bundles)
        with (
            CloudNode(config, codings, captions) as node,
            exposed(config.metrics, ids, node.counters, node.readings),
        ):
            log.info("cloud worker %s serves pool %s", config.worker, config.pool)
            notifier = Notifier.from_environment()
            notifier.ready(node.status())
            Watchdog(node, notifier).wait(signals)
            notifier.stopping("finishing the batch in hand")
    log.info("cloud worker %s has stopped", config.worker)

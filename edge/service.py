"""The edge node's life: opened in order, served until a signal, closed in reverse."""

from __future__ import annotations

import logging

from aiflow.common.exposition import exposed
from aiflow.common.notify import Notifier
from aiflow.common.signals import caught_signals
from aiflow.common.watchdog import Watchdog
from aiflow.edge.assets import opened
from aiflow.edge.config import EdgeConfig
from aiflow.edge.dashboard.config import read_token
from aiflow.edge.dashboard.mount import mounted
from aiflow.edge.node import EdgeNode

log = logging.getLogger(__name__)


def run(config: EdgeConfig) -> None:
    """Serve until SIGTERM or SIGINT; then say goodbye and return. Call it on the main thread.

    A broker that is away or refuses is waited for. Raises an AiflowError for what is wrong from the
    start: bundle, ledger, keys, the dashboard's token.
    """
    token = read_token(config.dashboard)
    with (
        caught_signals() as signals,
        opened(config) as assets,
        EdgeNode(config, assets) as node,
        mounted(config, token, node.session),
        exposed(config.metrics, assets.bundle_ids, node.counters, node.statistics.readings),
    ):
        log.info("edge node %s decodes bundles %s", config.node, assets.bundle_ids)
        notifier = Notifier.from_environment()
        notifier.ready(node.status())
        Watchdog(node, notifier).wait(signals)
        notifier.stopping("finishing the batch in hand")
    log.info("edge node %s has stopped", config.node)

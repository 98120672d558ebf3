"""The edge node's life: opened in order, served until a signal, closed in reverse."""

from __future__ import annotations

import logging

import numpy as np

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.encoder import Encoder
from aiflow.common.notify import Notifier
from aiflow.common.signals import caught_signals
from aiflow.common.watchdog import Watchdog
from aiflow.edge.config import EdgeConfig, ledger_path
from aiflow.edge.eyes import Eyes
from aiflow.edge.ledger import Ledger
from aiflow.edge.node import EdgeNode
from aiflow.edge.receiver import Coding

log = logging.getLogger(__name__)


def run(config: EdgeConfig) -> None:
    """Serve until SIGTERM or SIGINT; then say goodbye and return. Call it on the main thread.

    A broker that is away or refuses is waited for. Raises an AiflowError for what is wrong from the
    start: bundle, ledger, keys.
    """
    with caught_signals() as signals:
        bundle = Bundle.open(config.bundle)
        captions = Captioner(bundle, "edge", config.threads)
        # The first run of a model is the slowest; better now than with somebody's first frame.
        captions.caption([Request(np.zeros((bundle.tokens, bundle.dims), np.uint8))])
        threshold = config.threshold
        if threshold is None:
            threshold = bundle.manifest.escalate_below
        eyes = Eyes(lambda: Encoder.load(bundle, threads=config.threads), bundle.tables)
        coding = Coding(bundle.id, bundle.tag, bundle.tables)
        with (
            Ledger(ledger_path(config)) as ledger,
            EdgeNode(config, coding, threshold, captions, eyes, ledger) as node,
        ):
            log.info("edge node %s decodes bundle %s", config.node, bundle.id[:12])
            notifier = Notifier.from_environment()
            notifier.ready(node.status())
            Watchdog(node, notifier).wait(signals)
            notifier.stopping("finishing the batch in hand")
    log.info("edge node %s has stopped", config.node)

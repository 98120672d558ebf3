"""The edge node's life: opened in order, served until a signal, closed in reverse."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from aiflow.common.bundle import Bundle, BundleCoding
from aiflow.common.captioner import Captioner, Request
from aiflow.common.encoder import Encoder
from aiflow.common.errors import ConfigError
from aiflow.common.exposition import exposed
from aiflow.common.notify import Notifier
from aiflow.common.signals import caught_signals
from aiflow.common.topics import Topics
from aiflow.common.watchdog import Watchdog
from aiflow.edge.config import EdgeConfig, ledger_path
from aiflow.edge.dashboard.board import filters
from aiflow.edge.dashboard.config import read_token
from aiflow.edge.image_encoder import ImageEncoder
from aiflow.edge.ledger import Ledger
from aiflow.edge.node import EdgeNode
from aiflow.edge.policy import AskLimits, Judgement, Repairs

log = logging.getLogger(__name__)


def run(config: EdgeConfig) -> None:
    """Serve until SIGTERM or SIGINT; then say goodbye and return. Call it on the main thread.

    A broker that is away or refuses is waited for. Raises an AiflowError for what is wrong from the
    start: bundle, ledger, keys, the dashboard's token.
    """
    token = read_token(config.dashboard)
    with caught_signals() as signals:
        bundle = Bundle.open(config.bundle)
        captions = Captioner(bundle, "edge", config.threads)
        # The first run of a model is the slowest; better now than with somebody's first frame.
        captions.caption([Request(np.zeros((bundle.tokens, bundle.dims), np.uint8))])
        image_encoder = ImageEncoder(
            lambda: Encoder.load(bundle, threads=config.threads), bundle.tables
        )
        coding = BundleCoding(bundle.id, bundle.tag, bundle.tables)
        with (
            Ledger(ledger_path(config)) as ledger,
            EdgeNode(
                config, coding, _judgement(config, bundle), captions, image_encoder, ledger
            ) as node,
            _dashboard(config, token, node),
            exposed(config.metrics, bundle.id, node.counters, node.readings),
        ):
            log.info("edge node %s decodes bundle %s", config.node, bundle.id[:12])
            notifier = Notifier.from_environment()
            notifier.ready(node.status())
            Watchdog(node, notifier).wait(signals)
            notifier.stopping("finishing the batch in hand")
    log.info("edge node %s has stopped", config.node)


def _judgement(config: EdgeConfig, bundle: Bundle) -> Judgement:
    manifest, threshold = bundle.manifest, config.threshold
    limits = AskLimits(
        manifest.escalate_below if threshold is None else threshold,
        config.escalations_per_minute,
        config.max_pending,
        config.refines_per_minute,
    )
    return Judgement(limits, Repairs.of(manifest.figures, len(bundle.layers)))


@contextmanager
def _dashboard(config: EdgeConfig, token: str | None, node: EdgeNode) -> Iterator[None]:
    """The page, if it is wanted. That its port is taken is no reason not to caption."""
    settings = config.dashboard
    if not settings.enabled:
        yield
        return
    try:
        # Only a node with a page loads a web server, and only when it is captioning already.
        from aiflow.edge.dashboard.server import Dashboard  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the dashboard needs {error.name}: pip install 'aiflow-edge[edge]', "
            "or set enabled = false in [dashboard]"
        ) from error
    topics = Topics(config.broker.prefix)
    try:
        dashboard = Dashboard(
            settings, token, config.node, topics, lambda: node.connected, node.counters
        )
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        log.error("no dashboard, captions go on: %s: %s", where, error.strerror)  # noqa: TRY400
        yield
        return
    with dashboard:
        log.info("dashboard on %s", dashboard.url)
        for topic_filter in filters(topics):
            # The node has subscribed to descriptors as well, with QoS 1: the later one counts.
            qos = 1 if topic_filter == topics.any_descriptor else 0
            node.listen(topic_filter, qos, dashboard.heard)
        yield

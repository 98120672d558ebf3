"""The dashboard of a running node: a web server is loaded only where one is wanted."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from aiflow.common.errors import ConfigError
from aiflow.common.mqtt import Session
from aiflow.edge.config import EdgeConfig
from aiflow.edge.dashboard.board import filters

log = logging.getLogger(__name__)


@contextmanager
def mounted(config: EdgeConfig, token: str | None, session: Session) -> Iterator[None]:
    """Serve the page meanwhile, if it is wanted. That its port is taken costs no caption."""
    settings, topics = config.dashboard, config.topics
    if not settings.enabled:
        yield
        return
    try:
        from aiflow.edge.dashboard.server import Dashboard  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the dashboard needs {error.name}: pip install 'aiflow-edge[edge]', "
            "or set enabled = false in [dashboard]"
        ) from error
    try:
        dashboard = Dashboard(
            settings, token, config.node, topics, lambda: session.connected, session.counters
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
            session.subscribe(topic_filter, qos, dashboard.heard)
        yield

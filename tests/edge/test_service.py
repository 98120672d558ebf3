from __future__ import annotations

import logging
import socket
import urllib.request
from pathlib import Path

import pytest

from aiflow.common.errors import ConfigError
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Handler
from aiflow.edge.config import EdgeConfig
from aiflow.edge.dashboard.config import DashboardConfig
from aiflow.edge.dashboard.mount import mounted
from aiflow.edge.service import run


class FakeSession:
    """As much of a session as the page needs."""

    connected = True

    def __init__(self) -> None:
        self.counters = Counters()
        self.heard: dict[str, int] = {}

    def subscribe(self, topic_filter: str, qos: int, _handler: Handler) -> None:
        self.heard[topic_filter] = qos


def config(port: int, *, enabled: bool = True) -> EdgeConfig:
    return EdgeConfig(dashboard=DashboardConfig(enabled=enabled, port=port))


def test_the_page_listens_and_takes_no_embedding_of_the_node(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = FakeSession()
    with caplog.at_level(logging.INFO), mounted(config(0), None, session):  # type: ignore[arg-type]
        address = caplog.messages[-1].removeprefix("dashboard on ")
        with urllib.request.urlopen(address, timeout=30) as page:
            assert page.status == 200
    # Descriptors are the node's own as well: at the QoS that it wants.
    assert [name for name, qos in session.heard.items() if qos] == ["aiflow/+/+/descriptor"]
    assert "aiflow/+/+/embedding" not in session.heard


def test_a_port_in_use_is_said_and_costs_no_caption(caplog: pytest.LogCaptureFixture) -> None:
    session = FakeSession()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with mounted(config(port), None, session):  # type: ignore[arg-type]
            pass
    (message,) = caplog.messages
    assert message == f"no dashboard, captions go on: 127.0.0.1:{port}: Address already in use"
    assert session.heard == {}


def test_without_one_nothing_listens() -> None:
    session = FakeSession()
    with mounted(config(0, enabled=False), None, session):  # type: ignore[arg-type]
        assert session.heard == {}


def test_a_node_with_an_unfit_token_does_not_start(tmp_path: Path) -> None:
    settings = DashboardConfig(enabled=True, host="0.0.0.0", token_file=tmp_path / "missing")
    with pytest.raises(ConfigError, match="token of the dashboard"):
        run(EdgeConfig(dashboard=settings))

from __future__ import annotations

import socket
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from aiflow.common.config import Broker
from aiflow.common.errors import ConfigError
from aiflow.common.mqtt import Outgoing, Properties
from aiflow.common.topics import Topics
from aiflow.rig import system
from aiflow.rig.link import LinkSpec
from aiflow.rig.system import CameraSwitch, SystemOptions
from aiflow.rig.tiers import Plan


def options(**changes: object) -> SystemOptions:
    fields: dict[str, object] = {"camera": "synthetic:street", "fps": 3.0, "seed": 7}
    return SystemOptions(**(fields | changes))  # type: ignore[arg-type]


def plan_for(given: SystemOptions, folder: Path, port: int = 41873) -> Plan:
    link = SimpleNamespace(port=41900)
    return system._plan(given, Broker(port=port), link, folder)  # type: ignore[arg-type]


def query(uri: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(uri.partition("?")[2]))


def test_the_synthetic_camera_gets_its_seed_and_tells_the_truth(tmp_path: Path) -> None:
    folder = tmp_path / "a folder & more"
    uri = plan_for(options(), folder).uri
    assert uri.startswith("synthetic:street?")
    assert query(uri) == {
        "seed": "7",
        "truth": str(folder / "truth.jsonl"),
        "pictures": str(folder / "pictures"),
    }


def test_what_the_uri_says_of_itself_wins(tmp_path: Path) -> None:
    given = options(camera="synthetic:street?seed=9&strength=none&truth=/elsewhere")
    fields = query(plan_for(given, tmp_path).uri)
    assert (fields["seed"], fields["strength"]) == ("9", "none")
    assert fields["truth"] == str(tmp_path / "truth.jsonl")


def test_a_real_camera_is_left_as_it_is(tmp_path: Path) -> None:
    plan = plan_for(options(camera="rtsp://10.0.0.9/live"), tmp_path)
    assert plan.uri == "rtsp://10.0.0.9/live"
    assert plan.pictures is None


def test_the_dashboard_takes_another_port_where_its_own_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(system, "DASHBOARD_PORT", port)
        assert plan_for(options(), tmp_path).dashboard_port not in {0, None, port}
    plan = plan_for(options(), tmp_path)
    assert plan.dashboard_port == port
    assert plan.dashboard_url == f"http://127.0.0.1:{port}"
    assert plan.pictures == tmp_path / "pictures"


def test_the_device_goes_through_the_link_and_the_others_do_not(tmp_path: Path) -> None:
    plan = plan_for(options(), tmp_path)
    assert (plan.device_broker.port, plan.broker.port) == (41900, 41873)


def test_names_on_a_broker_of_others_are_nobody_elses(tmp_path: Path) -> None:
    assert plan_for(options(), tmp_path).device == "demo"
    first, second = (
        plan_for(options(broker=Broker(host="broker")), tmp_path).device for _ in range(2)
    )
    assert first != second
    assert first.startswith("demo-")


def test_the_route_is_told(tmp_path: Path) -> None:
    broker = Broker(host="127.0.0.1", port=41873)
    for given, route in (
        (options(), "synthetic:street -> device -> mosquitto :41873 -> edge -> cloud"),
        (
            options(mode="split", link=LinkSpec(25_000, 0.05), broker=broker),
            "synthetic:street -> device -> link 25KB/s,50ms -> mqtt://127.0.0.1:41873 -> edge",
        ),
    ):
        assert system._route(given, broker, plan_for(given, tmp_path)) == route


def test_tls_cannot_be_counted() -> None:
    broker = Broker(host="b", ca_file=Path("/etc/ssl/ca.pem"))
    with pytest.raises(ConfigError, match="TLS"), system.running(options(broker=broker)):
        pass


class FakeSession:
    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[str, bytes, Properties], None]] = {}
        self.published: list[tuple[str, bytes]] = []

    def subscribe(
        self, topic: str, _qos: int, handler: Callable[[str, bytes, Properties], None]
    ) -> None:
        self.handlers[topic] = handler

    def publish(self, message: Outgoing) -> bool:
        self.published.append((message.topic, message.payload))
        return True

    def hear(self, topic: str, payload: bytes) -> None:
        self.handlers[topic](topic, payload, Properties())


def test_the_camera_is_switched_on_once_when_device_and_edge_are_there(tmp_path: Path) -> None:
    session = FakeSession()
    CameraSwitch(session, Topics(), plan_for(options(), tmp_path))  # type: ignore[arg-type]
    session.hear("aiflow/edge/demo/available", b"offline")
    session.hear("aiflow/edge/demo/available", b"online")
    session.hear("aiflow/demo/street/status", b"offline")
    assert session.published == []
    session.hear("aiflow/demo/street/status", b"disabled")
    assert session.published == [("aiflow/demo/street/enabled/set", b"ON")]
    session.hear("aiflow/demo/street/status", b"online")
    session.hear("aiflow/demo/street/status", b"disabled")
    session.hear("aiflow/edge/demo/available", b"online")
    assert len(session.published) == 1

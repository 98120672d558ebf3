"""`aiflow homeassistant remove` on a real broker."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiflow.cli import homeassistant
from aiflow.cli.main import run
from aiflow.common.config import Broker
from aiflow.common.mqtt import Outgoing, Properties, Session

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

PATIENCE_S = 30.0
TOPIC = "ha/device/aiflow-pi/config"


@pytest.fixture
def config(mosquitto: Mosquitto, tmp_path: Path) -> Path:
    path = tmp_path / "device.toml"
    path.write_text(
        f'device = "pi"\n[broker]\nport = {mosquitto.port}\n[home_assistant]\nprefix = "ha"\n'
        '[[camera]]\nname = "door"\nuri = "0"\n'
    )
    return path


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[queue.Queue[bytes]]:
    """What is published as the device's message, which was there before."""
    heard: queue.Queue[bytes] = queue.Queue()

    def take(_topic: str, payload: bytes, _properties: Properties) -> None:
        heard.put(payload)

    session = Session(Broker(port=mosquitto.port), "hearer")
    session.subscribe(TOPIC, 1, take)
    session.start()
    session.wait_connected(PATIENCE_S)
    session.publish(Outgoing(TOPIC, b"{}", qos=1, retain=True))
    assert heard.get(timeout=PATIENCE_S) == b"{}"
    yield heard
    session.close(drain_s=0)


def test_what_is_retained_is_cleared(
    config: Path, heard: queue.Queue[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["homeassistant", "remove", "--config", str(config)]) == 0
    assert heard.get(timeout=PATIENCE_S) == b""
    assert capsys.readouterr().out == f"cleared {TOPIC}\n"


def test_broker_that_refuses_is_one_sentence(
    config: Path, mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = mosquitto.folder / "acl"
    rules.write_text("topic readwrite aiflow/#\n")
    mosquitto.stop()
    mosquitto.configure(f"acl_file {rules}")
    mosquitto.start()
    assert run(["homeassistant", "remove", "--config", str(config)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        f"aiflow: the broker does not let this client write {TOPIC}: Not authorized (0x87)"
    )


def test_broker_that_is_not_there_is_one_sentence(
    config: Path,
    mosquitto: Mosquitto,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(homeassistant, "PATIENCE_S", 0.5)
    mosquitto.stop()
    assert run(["homeassistant", "remove", "--config", str(config)]) == 1
    assert "cannot be reached: Connection refused" in capsys.readouterr().err


def test_file_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["homeassistant", "remove"]) == 2
    assert "--config" in capsys.readouterr().err

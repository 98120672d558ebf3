"""`aiflow trigger learn` on a real broker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.cli.main import run
from aiflow.common.bundle import Bundle, built_in
from aiflow.common.codec import compress
from aiflow.common.config import Broker, load
from aiflow.common.messages import Descriptor
from aiflow.common.mqtt import Outgoing, Session
from aiflow.common.wire import Context, Kind, Packet, pack
from aiflow.edge.config import EdgeConfig
from aiflow.edge.examples import read_examples

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

pytestmark = pytest.mark.skipif("street" not in built_in(), reason="needs the bundle `street`")
LIKE_IT = '[[trigger]]\nname = "gate"\nlike = "open-gate"\n'


@pytest.fixture
def config(mosquitto: Mosquitto, tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(
        f'ledger = "{tmp_path / "state" / "ledger.sqlite"}"\n'
        f"[broker]\nport = {mosquitto.port}\n{LIKE_IT}"
    )
    return path


def test_what_a_camera_shows_becomes_an_example(
    mosquitto: Mosquitto, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Bundle.open("street")
    symbols = np.random.default_rng(1).integers(0, 5, (bundle.tokens, bundle.dims)).astype(np.uint8)
    layers = len(bundle.layers)
    body = compress(symbols, bundle.tables, layers=layers)
    frame = pack(Packet(Kind.KEY, bundle.tag, 1, 0, body, 0, layers), Context("pi", "door", 1000))
    descriptor = Descriptor(
        device="pi",
        camera="door",
        bundle=bundle.id,
        bundle_name="street",
        tokens=bundle.tokens,
        dims=bundle.dims,
        levels=bundle.levels,
        layers=bundle.layers,
        epoch_ms=1000,
        width=640,
        height=480,
        software="test",
    )
    session = Session(Broker(port=mosquitto.port), "device")
    session.start()
    session.wait_connected(30.0)
    # Retained, so that both are there when learning begins.
    session.publish(Outgoing("aiflow/pi/door/descriptor", descriptor.to_json(), qos=1, retain=True))
    session.publish(Outgoing("aiflow/pi/door/embedding", frame, qos=1, retain=True))
    session.close(drain_s=10.0)
    learn = ["trigger", "learn", "open-gate", "--camera", "pi/door", "--config", str(config)]
    assert run([*learn, "--frames", "1", "--timeout", "30"]) == 0
    (path,) = (config.parent / "state").iterdir()
    assert path.name == "trigger-open-gate.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"learned open-gate from 1 frames: {path}" in capsys.readouterr().out
    example = read_examples(load(EdgeConfig, config, environ={}), {bundle.id})["open-gate"]
    assert (example.device, example.camera) == ("pi", "door")
    assert example.similarity(symbols) == 1.0
    assert example.similarity(4 - symbols) < 0.9


def test_a_silent_camera_is_an_error(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn = ["trigger", "learn", "open-gate", "--camera", "pi/door", "--config", str(config)]
    assert run([*learn, "--timeout", "1"]) == 1
    assert "no frame of pi/door that can be read came in 1 s" in capsys.readouterr().err
    assert not (config.parent / "state").exists()


@pytest.mark.parametrize(
    "name, camera, sentence",
    [("a b", "pi/door", "'a b' is not 1 to 64 letters"), ("gate", "door", "is not device/camera")],
)
def test_names_are_checked_first(
    config: Path, capsys: pytest.CaptureFixture[str], name: str, camera: str, sentence: str
) -> None:
    assert run(["trigger", "learn", name, "--camera", camera, "--config", str(config)]) == 2
    assert sentence in capsys.readouterr().err

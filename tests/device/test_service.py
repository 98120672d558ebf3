"""The daemon as a process: signals, exit status, and what is left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Self

import pytest

from aiflow.common.bundle import Bundle
from aiflow.common.config import Broker
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BundleNotFound, StorageError
from aiflow.common.exposition import Reading
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties, Session
from aiflow.device import service
from aiflow.device.config import DeviceConfig
from aiflow.device.launch import Launches
from aiflow.device.outbox import Outbox

if TYPE_CHECKING:
    from tests.conftest import Mosquitto
    from tests.device.conftest import WaitUntil

# The real daemon, but for bundle, encoder and camera.
PROGRAM = """
import importlib.util, logging, sys
spec = importlib.util.spec_from_file_location("fakes", sys.argv[1])
fakes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(fakes)
from aiflow.device import launch, service
from aiflow.device.config import DeviceConfig
from aiflow.common.errors import AiflowError
service.Bundle.open = classmethod(lambda *_: fakes.toy_bundle())
service.Encoder.load = classmethod(lambda *_: fakes.FakeEncoder())
camera = {"blinks": fakes.BlinkingCamera, "hangs": fakes.FakeCamera}[sys.argv[3]]
launch.launch = lambda _: fakes.CameraThread(camera)
logging.basicConfig(level=logging.INFO)
try:
    config = DeviceConfig.model_validate_json(sys.argv[2])
    with launch.Launches(config.camera) as launches:
        service.run(config, launches)
except AiflowError as error:
    print(error, file=sys.stderr)
    sys.exit(1)
"""
FAKES = Path(__file__).with_name("conftest.py")

Start = Callable[..., "subprocess.Popen[bytes]"]


class States:
    """The last payload of each topic."""

    def __init__(self, port: int) -> None:
        self.last: dict[str, bytes] = {}
        self.session = Session(Broker(port=port), "watcher")
        self.session.subscribe("aiflow/#", 1, self._take)
        self.session.start()
        self.session.wait_connected(30)

    def _take(self, topic: str, payload: bytes, properties: Properties) -> None:
        self.last[topic] = payload


@pytest.fixture
def states(mosquitto: Mosquitto) -> Iterator[States]:
    states = States(mosquitto.port)
    yield states
    states.session.close(drain_s=0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def start(mosquitto: Mosquitto, tmp_path: Path, log: Path) -> Iterator[Start]:
    children: list[subprocess.Popen[bytes]] = []

    def begin(camera: str = "blinks") -> subprocess.Popen[bytes]:
        config = DeviceConfig.model_validate(
            {
                "device": "pi",
                "broker": {"port": mosquitto.port},
                "camera": [
                    {
                        "name": "door",
                        "uri": "synthetic:street",
                        "width": 64,
                        "height": 48,
                        "fps": 10,
                    }
                ],
                "outbox": {"path": str(tmp_path / "outbox.sqlite")},
            }
        )
        command = [sys.executable, "-c", PROGRAM, str(FAKES), config.model_dump_json(), camera]
        with log.open("ab") as output:
            children.append(subprocess.Popen(command, stdout=output, stderr=output))
        return children[-1]

    yield begin
    for child in children:
        child.kill()
        child.wait()


def waiting(tmp_path: Path) -> list[int]:
    path = tmp_path / "outbox.sqlite"
    with Outbox(path, max_entries=10**6, max_bytes=10**9, counters=Counters()) as outbox:
        return [entry.sequence for entry in outbox.after("door", -1, 10**6)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_cleanly(
    start: Start,
    states: States,
    log: Path,
    tmp_path: Path,
    wait_until: WaitUntil,
    number: signal.Signals,
) -> None:
    child = start()
    wait_until(lambda: "aiflow/pi/door/embedding" in states.last, "no frame")
    assert states.last["aiflow/pi/available"] == b"online"
    child.send_signal(number)
    assert child.wait(30) == 0
    wait_until(lambda: states.last["aiflow/pi/available"] == b"offline", "no goodbye")
    assert states.last["aiflow/pi/door/status"] == b"offline"
    text = log.read_text()
    assert "Traceback" not in text
    assert "device pi has stopped" in text
    assert waiting(tmp_path), "frames without a receipt are kept"


def test_camera_that_hangs_does_not_keep_it_from_ending(
    start: Start, states: States, log: Path, wait_until: WaitUntil
) -> None:
    child = start("hangs")
    wait_until(lambda: states.last.get("aiflow/pi/available") == b"online", "not online")
    child.terminate()
    assert child.wait(30) == 0
    wait_until(lambda: states.last["aiflow/pi/available"] == b"offline", "no goodbye")
    assert "device pi has stopped" in log.read_text()


def test_killed_device_is_offline_and_goes_on_where_it_was(
    start: Start, states: States, tmp_path: Path, wait_until: WaitUntil
) -> None:
    child = start()
    wait_until(lambda: "aiflow/pi/door/embedding" in states.last, "no frame")
    child.kill()
    child.wait()
    wait_until(lambda: states.last["aiflow/pi/available"] == b"offline", "no will")
    before = waiting(tmp_path)
    descriptor = states.last["aiflow/pi/door/descriptor"]
    child = start()
    wait_until(lambda: states.last["aiflow/pi/available"] == b"online", "not back")
    child.terminate()
    assert child.wait(30) == 0
    assert states.last["aiflow/pi/door/descriptor"] == descriptor, "the session goes on"
    assert waiting(tmp_path)[: len(before)] == before


def config(folder: Path, **settings: object) -> DeviceConfig:
    filled = {"device": "pi", "camera": [{"name": "door", "uri": "0"}], **settings}
    return DeviceConfig.model_validate({"outbox": {"path": folder / "outbox.sqlite"}, **filled})


def loaded_by(code: str) -> set[str]:
    """Which modules a fresh interpreter has after it."""
    command = [sys.executable, "-P", "-c", f"import sys; {code}; print(*sys.modules)"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_the_daemon_loads_nothing_that_most_devices_do_not_need() -> None:
    unneeded = {"tokenizers", "http.server", "prometheus_client", "rich", "ai_edge_litert"}
    loaded = loaded_by("import aiflow.device.service")
    assert "aiflow.device.service" in loaded
    assert not unneeded & loaded


def test_the_cameras_are_started_before_what_takes_long_is_imported() -> None:
    loaded = loaded_by("import aiflow.device.config, aiflow.device.launch")
    assert "aiflow.device.launch" in loaded
    assert not {"cv2", "onnxruntime", "paho", "sqlite3", "aiflow.device.service"} & loaded


def test_bundle_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleNotFound):
        service.run(config(tmp_path, bundle=str(tmp_path / "absent")), Launches([]))


def test_outbox_that_another_device_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bundle, "open", lambda *_: None)
    monkeypatch.setattr(Encoder, "load", lambda *_: None)
    with (
        Outbox(tmp_path / "outbox.sqlite", max_entries=1, max_bytes=4096, counters=Counters()),
        pytest.raises(StorageError, match="in use by another process"),
    ):
        service.run(config(tmp_path), Launches([]))


def test_fatal_fault_ends_the_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []

    class DoomedDevice:
        def __init__(self, *arguments: object) -> None:
            on_fatal = arguments[-2]
            assert callable(on_fatal)
            on_fatal(StorageError("the file is malformed"))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            stopped.append(True)

        def status(self) -> str:
            return "doomed"

        def ask(self) -> None:
            pass

        def readings(self) -> list[Reading]:
            return []

    manifest = SimpleNamespace(name="toy", license="Apache-2.0")
    bundle = SimpleNamespace(id="ab" * 32, manifest=manifest)
    monkeypatch.setattr(Bundle, "open", lambda *_: bundle)
    monkeypatch.setattr(Encoder, "load", lambda *_: None)
    monkeypatch.setattr(service, "Device", DoomedDevice)
    with pytest.raises(StorageError, match="the file is malformed"):
        service.run(config(tmp_path), Launches([]))
    assert stopped == [True]

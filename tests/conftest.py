"""Fixtures that any test may use: a private Mosquitto on a free loopback port."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from aiflow.common.messages import Caption, CaptionBytes, Latency, Tier, caption_id

# The same examples on every run, and no verdict by the clock of a busy machine.
hypothesis.settings.register_profile("aiflow", derandomize=True, deadline=None)
hypothesis.settings.load_profile("aiflow")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-vectors",
        action="store_true",
        help="write the golden bytes in tests/vectors anew instead of comparing with them",
    )


class Mosquitto:
    """A broker of our own that can be stopped, killed, frozen and started again, port kept.

    Anonymous clients are welcome and nothing is persisted, unless configured otherwise.
    """

    host = "127.0.0.1"

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.folder = folder
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        self.configure()

    def configure(self, options: str = "", *, anonymous: bool = True) -> None:
        """For the next start(); `options` are lines of mosquitto.conf."""
        self._config.write_text(
            # Started by root it would become another user, who may not read this folder.
            f"user {getpass.getuser()}\n"
            f"listener {self.port} {self.host}\nallow_anonymous {str(anonymous).lower()}\n"
            f"persistence false\nset_tcp_nodelay true\n{options}\n"
        )

    def start(self) -> None:
        if self._process is not None:
            return
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert program is not None, "mosquitto is not installed: scripts/setup does it"
        with (self.folder / "mosquitto.log").open("ab") as output:
            self._process = subprocess.Popen(
                [program, "-c", str(self._config)], stdout=output, stderr=output
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, "mosquitto does not listen"
            time.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it with its connections open; SIGCONT thaws it."""
        assert self._process is not None
        self._process.send_signal(number)

    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text()

    def _answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((Mosquitto.host, 0))
        port: int = probe.getsockname()[1]
        return port


def _make_caption(
    sequence: int = 0,
    *,
    text: str = "a red bus waits on the left",
    tier: Tier = "edge",
    update: bool = False,
    total_s: float = 0.02,
    uplink: int = 40,
    timestamp: float = 1_700_000_000.0,
    device: str = "demo",
) -> Caption:
    return Caption(
        id=caption_id(device, "street", 1, sequence),
        device=device,
        camera="street",
        timestamp=timestamp,
        type="update" if update else "new",
        text=text,
        confidence=0.97,
        tier=tier,
        mode="cascade" if tier == "cloud" else "split",
        bytes=CaptionBytes(embedding=20, uplink=uplink),
        latency_s=Latency(total=total_s),
        bundle="0" * 64,
        late=False,
        sequence=sequence,
    )


@pytest.fixture
def make_caption() -> Callable[..., Caption]:
    return _make_caption

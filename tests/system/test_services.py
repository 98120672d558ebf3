"""The daemons as systemd runs them: under what their units forbid, telling it how they do."""

from __future__ import annotations

import ctypes.util
import re
import shutil
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.system.conftest import wait_until

from aiflow.cli import units
from aiflow.rig.child import Child

if TYPE_CHECKING:
    from tests.system.conftest import System

CONFINE = Path(__file__).with_name("confine.py")
TIERS = ("device", "edge", "cloud")
WATCHDOG_S = 2.0
PATIENCE_S = 60.0


class Service:
    """A tier's process, and what it says to its service manager."""

    def __init__(self, tier: str, system: System, wrapper: list[str]) -> None:
        path = system.folder / f"{tier}.notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.said: list[str] = []
        plain = system.tiers[tier]
        environment = {
            **(plain._environment or {}),
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6)),
        }
        self.child = Child(tier, [*wrapper, *plain._command], plain.log_path, environment)

    def hears(self, state: str, times: int = 1) -> None:
        """Wait until it has been said so often since the start."""
        deadline = time.monotonic() + PATIENCE_S
        while sum(state in lines.splitlines() for lines in self.said) < times:
            left_s = deadline - time.monotonic()
            assert left_s > 0, (self.said, self.child.last_lines(20))
            assert self.child.running or state == "STOPPING=1", self.child.last_lines(20)
            self._socket.settimeout(min(left_s, 0.5))
            try:
                self.said.append(self._socket.recv(4096).decode())
            except TimeoutError:
                continue

    def close(self) -> None:
        self.child.kill()
        self._socket.close()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(
    system: System, stack: ExitStack, tiers: tuple[str, ...] = TIERS, *, confined: bool = False
) -> list[Service]:
    services = []
    for tier in tiers:
        unit = system.folder / f"{tier}.service"
        unit.write_text(units.unit(tier, [sys.executable]))
        wrapper = [sys.executable, str(CONFINE), str(unit)] if confined else []
        services.append(Service(tier, system, wrapper))
        stack.callback(services[-1].close)
        services[-1].child.start()
    return services


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None or ctypes.util.find_library("seccomp") is None,
    reason="needs systemd-analyze and libseccomp",
)
def test_whole_life_under_the_directives_of_the_units(system: System, stack: ExitStack) -> None:
    path = system.folder / "edge.toml"
    path.write_text(path.read_text().replace("enabled = false", "enabled = true\nport = 0"))
    services = start(system, stack, confined=True)
    for service in services:
        service.hears("READY=1")
    edge_log = services[TIERS.index("edge")].child.log_path
    tells = re.compile(r"dashboard on (http://\S+)")
    wait_until(lambda: bool(tells.search(edge_log.read_text())), PATIENCE_S, "no dashboard")
    address = tells.search(edge_log.read_text())
    assert address is not None
    with urllib.request.urlopen(address[1], timeout=PATIENCE_S) as page:
        assert b"AI Flow" in page.read()
    system.wait_for_captions(3, PATIENCE_S)
    for service in services:
        service.hears("WATCHDOG=1", times=2)
        assert service.child.stop() == 0
        service.hears("STOPPING=1")
        log = service.child.log_path.read_text()
        assert "Traceback" not in log
        assert "not permitted" not in log
        assert service.said[0].startswith("READY=1\nSTATUS=")
    outbox = system.folder / "outbox.sqlite"
    assert outbox.stat().st_mode & 0o077 == 0


def test_daemons_are_ready_and_stay_alive_without_a_broker(
    system: System, stack: ExitStack
) -> None:
    system.broker.stop()
    for service in start(system, stack):
        service.hears("READY=1")
        service.hears("WATCHDOG=1", times=6)  # for a whole period more than the first
        assert "no broker" in service.said[-1]
        assert "no sign of life" not in "".join(service.said)


def test_camera_that_is_missing_is_no_reason_for_a_restart(
    system: System, stack: ExitStack
) -> None:
    path = system.folder / "device.toml"
    text = path.read_text()
    uri = text.partition("uri = ")[2].partition("\n")[0]
    path.write_text(text.replace(uri, '"/no/such/video.mp4"'))
    (device,) = start(system, stack, ("device",))
    device.hears("READY=1")
    device.hears("WATCHDOG=1", times=6)
    assert "0 of 1 cameras online" in device.said[-1]
    assert "no sign of life" not in "".join(device.said)

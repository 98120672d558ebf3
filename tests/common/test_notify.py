from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiflow.common.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def heard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket; `getsockname` is what it is bound to."""
    abstract = request.param == "abstract"
    name = f"\0aiflow-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name)
        listener.settimeout(5.0)
        yield listener


def address(heard: socket.socket) -> str:
    name = heard.getsockname()
    return name if isinstance(name, str) else f"@{name[1:].decode()}"


def test_what_is_said(heard: socket.socket) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address(heard)})
    assert notifier.listened_to
    notifier.ready("2 cameras")
    notifier.alive("all\nis   well")
    notifier.status("a note")
    notifier.stopping("goodbye")
    assert [heard.recv(4096) for _ in range(4)] == [
        b"READY=1\nSTATUS=2 cameras",
        b"WATCHDOG=1\nSTATUS=all is well",
        b"STATUS=a note",
        b"STOPPING=1\nSTATUS=goodbye",
    ]


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_socket_nothing_is_said(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environ | {"WATCHDOG_USEC": "1000000"})
    assert not notifier.listened_to
    assert notifier.watchdog_s is None
    notifier.ready("nobody hears this")


@pytest.mark.parametrize(
    "environ, period_s",
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": ""}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_period_of_the_watchdog(environ: dict[str, str], period_s: float | None) -> None:
    environ["NOTIFY_SOCKET"] = "@somebody"
    assert Notifier.from_environment(environ).watchdog_s == period_s


def test_manager_that_has_gone_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    for _ in range(3):
        notifier.alive("well")
    assert caplog.text.count("cannot be told") == 1

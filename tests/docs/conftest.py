"""The quick start, followed to the letter: its files, its broker, its three daemons."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

import commands
from aiflow.common.bundle import built_in
from aiflow.rig.broker import PrivateBroker

QUICKSTART: Final = "docs/quickstart.md"
STOP_S: Final = 20.0
FIRST_S: Final = 60.0


@dataclass
class Site:
    """A folder with a file for each tier, a broker, and the daemons that were started with them."""

    folder: Path
    broker: PrivateBroker
    environment: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def own(self, command: str) -> str:
        """The command with this machine's names in the places of the example's."""
        for theirs, ours in (
            ("mqtt://broker.local", f"mqtt://127.0.0.1:{self.broker.port}"),
            ("-p PORT", f"-p {self.broker.port}"),
            ("9462", self.environment["AIFLOW_METRICS__PORT"]),
            ("192.0.2.10", "127.0.0.1"),
            ("/dev/video0", "synthetic:street"),
            ("sudo ", ""),
            ("scripts/demo", "aiflow demo --frames 3 --fps 10"),
        ):
            command = command.replace(theirs, ours)
        return command

    def start(self, command: str, **variables: str) -> subprocess.Popen[bytes]:
        """In a process group of its own, so that all parts of a pipeline can be ended."""
        return subprocess.Popen(
            ["bash", "-c", f"set -o pipefail; {self.own(command)}"],
            cwd=self.folder,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def start_daemon(self, tier: str, command: str) -> None:
        """Its log goes to a file, which never fills as a pipe would."""
        port = self.environment["AIFLOW_METRICS__PORT"] if tier == "edge" else str(free_port())
        with (self.folder / f"{tier}.log").open("wb") as log:
            self.daemons[tier] = subprocess.Popen(
                command.split(),
                cwd=self.folder,
                env=self.environment | {"AIFLOW_METRICS__PORT": port},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def end(self, process: subprocess.Popen[bytes]) -> tuple[str, str]:
        """Stop it as a service manager would; what it has said, if that was kept."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                out, err = process.communicate(timeout=STOP_S)
                return (out or b"").decode("utf-8", "replace"), (err or b"").decode()
        raise AssertionError("it does not end by SIGKILL")

    def aside(self) -> dict[str, str]:
        """Variables for one more daemon: topics, state and port of its own."""
        return {
            "AIFLOW_BROKER__PREFIX": "aside",
            "AIFLOW_METRICS__PORT": str(free_port()),
            "XDG_STATE_HOME": str(self.folder / "aside"),
        }

    def log(self, tier: str) -> str:
        return (self.folder / f"{tier}.log").read_text()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment(folder: Path, port: int) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if "AIFLOW" not in name}
    return outside | {
        "PATH": f"{Path(sys.executable).parent}:{outside['PATH']}",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "AIFLOW_BROKER__PORT": str(port),
        "AIFLOW_SENDING__KEY_EVERY_S": "1",  # for those who come in the middle
        "AIFLOW_METRICS__PORT": str(free_port()),
    }


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if "street" not in built_in():
        pytest.skip("needs the built-in bundle `street`; make it with scripts/train")
    folder = tmp_path_factory.mktemp("site")
    files = [block for block in commands.blocks("toml") if block.page == QUICKSTART]
    for tier, block in zip(("device", "edge", "cloud"), files, strict=True):
        (folder / f"{tier}.toml").write_text(block.text)
    with PrivateBroker() as broker:
        site = Site(folder, broker, _environment(folder, broker.port))
        try:
            for block in commands.blocks("sh"):
                for command in block.commands() if block.page == QUICKSTART else ():
                    if "--config" in command:
                        site.start_daemon(command.split()[1], command)
            first = site.start("aiflow watch --count 1")
            out, err = first.communicate(timeout=FIRST_S)
            assert b"gate-pi/yard" in out, (err, *map(site.log, site.daemons))
            yield site
        finally:
            for process in site.daemons.values():
                site.end(process)

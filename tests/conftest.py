"""Fixtures that any test may use: a private Mosquitto on a free loopback port."""

from __future__ import annotations

import getpass
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from aiflow.common.messages import Caption, CaptionBytes, Latency, Tier, caption_id
from aiflow.rig.broker import PrivateBroker

# The same examples on every run, and no verdict by the clock of a busy machine.
hypothesis.settings.register_profile("aiflow", derandomize=True, deadline=None)
hypothesis.settings.load_profile("aiflow")


# A run of tests that is killed leaves nothing behind: whatever it has started inherits this mark.
MARK = "AIFLOW-TESTS"
GUARD = """
trap '' HUP INT TERM
read -r _ && exit 0
for signal in TERM KILL; do
    for found in $(grep -lsz "^$0=$1\\$" /proc/[0-9]*/environ); do
        kill -"$signal" "$(basename "$(dirname "$found")")"
    done
    sleep 5
done
"""


def pytest_configure(config: pytest.Config) -> None:
    run = secrets.token_hex(8)
    guard = subprocess.Popen(
        ["sh", "-c", GUARD, MARK, run],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if name != MARK},
        start_new_session=True,
    )
    os.environ[MARK] = run

    def dismiss() -> None:
        guard.communicate(b"done\n")

    config.add_cleanup(dismiss)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regenerate-vectors",
        action="store_true",
        help="write the golden bytes in tests/vectors anew instead of comparing with them",
    )


class Mosquitto(PrivateBroker):
    """A broker that can be frozen, and reads files of the tests also where root runs them."""

    @property
    def folder(self) -> Path:
        return self.child.log_path.parent

    def configure(self, options: str = "", *, anonymous: bool = True) -> None:
        # Started by root it would become another user, who may not read those files.
        super().configure(f"user {getpass.getuser()}\n{options}", anonymous=anonymous)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it with its connections open; SIGCONT thaws it."""
        self.child.tell(number)


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """A running broker."""
    with Mosquitto() as broker:
        yield broker


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

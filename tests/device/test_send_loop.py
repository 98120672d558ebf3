from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import pytest

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.device import send_loop as module
from aiflow.device.edge_health import EdgeHealth, HealthLimits
from aiflow.device.send_loop import SendLoop
from aiflow.device.uplink import Uplink

if TYPE_CHECKING:
    from tests.device.conftest import WaitUntil


class FakeUplink:
    def __init__(self) -> None:
        self.steps = 0
        self.pause_s = 1000.0
        self.calls: list[str] = []
        self.fault: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def step(self) -> float:
        self.open.wait(10)
        self.steps += 1
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return self.pause_s

    def again(self) -> None:
        self.calls.append("again")

    def publish_captions(self) -> float:
        self.calls.append("captions")
        return 1000.0

    def flush(self) -> None:
        self.calls.append("flush")


@pytest.fixture
def uplink() -> FakeUplink:
    return FakeUplink()


@pytest.fixture
def faults() -> list[StorageError]:
    return []


@pytest.fixture
def work() -> threading.Event:
    return threading.Event()


@pytest.fixture
def loop(
    uplink: FakeUplink, faults: list[StorageError], counters: Counters, work: threading.Event
) -> Iterator[SendLoop]:
    limits = HealthLimits(offline_s=1, silence_s=5, return_s=3, unanswered_s=0.8, deadline_s=2.0)
    health = EdgeHealth(["door"], limits, measures=False, now=time.monotonic())
    uplinks = {"door": cast("Uplink", uplink)}
    loop = SendLoop(uplinks, health, work, counters, faults.append)
    loop.start()
    yield loop
    loop.stop()


def connect(loop: SendLoop) -> None:
    loop.connected()
    loop.node("e1", online=True)


def test_sleeps_until_something_happens_or_is_due(
    loop: SendLoop, uplink: FakeUplink, work: threading.Event, wait_until: WaitUntil
) -> None:
    work.set()
    assert uplink.steps == 0, "nobody is there"
    connect(loop)
    wait_until(lambda: uplink.steps >= 1, "the connection does not wake it")
    events: list[Callable[[], None]] = [work.set, lambda: loop.node("e2", online=True)]
    for event in events:
        steps = uplink.steps
        event()
        wait_until(lambda: uplink.steps > steps, "an event does not wake it")  # noqa: B023
    assert [call for call in uplink.calls if call == "again"] == ["again"] * 3
    uplink.pause_s = 0.01
    work.set()
    wait_until(lambda: uplink.steps >= 8, "time does not wake it")


def test_connection_that_is_lost_stops_the_sending(
    loop: SendLoop, uplink: FakeUplink, work: threading.Event, wait_until: WaitUntil
) -> None:
    connect(loop)
    wait_until(lambda: uplink.steps >= 1, "not connected")
    loop.disconnected()
    wait_until(lambda: not work.is_set(), "not heard")
    loop.ask()
    wait_until(lambda: not loop.pulse.silent, "no turn")
    steps = uplink.steps
    work.set()
    loop.node("e1", online=False)
    loop.ask()
    wait_until(lambda: not loop.pulse.silent, "no turn")
    assert uplink.steps == steps


def test_fault_passes(  # noqa: PLR0917 - fixtures
    loop: SendLoop,
    uplink: FakeUplink,
    faults: list[StorageError],
    work: threading.Event,
    counters: Counters,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    uplink.fault = StorageError("no space left on the disk")
    connect(loop)
    wait_until(lambda: uplink.steps >= 2, "not tried again")
    assert [str(fault) for fault in faults] == ["no space left on the disk"]
    assert "Traceback" not in caplog.text
    for _ in range(3):
        uplink.fault = ZeroDivisionError()
        work.set()
        wait_until(lambda: uplink.fault is None, "not tried again")
    wait_until(
        lambda: counters.value("aiflow_outbox_faults_total", reason="bug") == 3, "not counted"
    )
    assert caplog.text.count("Traceback") == 1, "a bug is logged with its traceback, once a minute"
    assert "ZeroDivisionError" in caplog.text


def test_sign_of_life_is_a_turn_without_a_fault_of_ours(
    loop: SendLoop, uplink: FakeUplink, work: threading.Event, wait_until: WaitUntil
) -> None:
    loop.ask()
    wait_until(lambda: not loop.pulse.silent, "waiting for a broker is no reason for silence")
    connect(loop)
    wait_until(lambda: uplink.steps >= 1, "not connected")
    uplink.fault = StorageError("no space left on the disk")
    loop.ask()
    wait_until(lambda: not loop.pulse.silent, "a full disk is no reason for silence")
    uplink.open.clear()
    loop.ask()
    time.sleep(0.05)
    assert loop.pulse.silent, "it is stuck"
    uplink.fault = ZeroDivisionError()
    uplink.open.set()
    wait_until(lambda: uplink.fault is None, "no turn")
    time.sleep(0.05)
    assert loop.pulse.silent, "a turn that a bug has ended does not count"
    work.set()
    wait_until(lambda: not loop.pulse.silent, "the next one does")


def test_on_a_broker_without_a_node_captions_of_our_own_are_published(
    loop: SendLoop, uplink: FakeUplink, work: threading.Event, wait_until: WaitUntil
) -> None:
    loop.connected()
    loop.node("edge1", online=False)
    wait_until(lambda: "captions" in uplink.calls, "nobody is there")
    loop.node("edge1", online=True)
    loop.ask()
    wait_until(lambda: not loop.pulse.silent, "no turn")
    calls = uplink.calls.count("captions")
    loop.ask()
    wait_until(lambda: not loop.pulse.silent, "another turn")
    assert uplink.calls.count("captions") == calls


def test_what_is_receipted_is_taken_from_the_disk_at_the_end(
    loop: SendLoop, uplink: FakeUplink
) -> None:
    loop.stop()
    assert uplink.calls[-1] == "flush"

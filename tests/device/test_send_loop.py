from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

import pytest

from aiflow.common.errors import StorageError
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Reason
from aiflow.common.wire import Receipt, Why
from aiflow.device import courier as module
from aiflow.device.courier import MAX_POSTED, Courier
from aiflow.device.line import Line
from aiflow.device.reach import Patience, Reach
from aiflow.device.sender import Sender

if TYPE_CHECKING:
    from tests.device.conftest import WaitUntil


class FakeSender:
    def __init__(self) -> None:
        self.steps = 0
        self.pause_s = 1000.0
        self.calls: list[str] = []
        self.fault: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def step(self, now: float) -> float:
        self.open.wait(10)
        self.steps += 1
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault
        return self.pause_s

    def again(self, now: float) -> None:
        self.calls.append("again")

    def through(self, now: float) -> None:
        self.calls.append("through")

    def receipt(self, ranges: list[range], now: float) -> None:
        self.calls.append(f"receipt {ranges}")

    def tell(self) -> float:
        self.calls.append("tell")
        return math.inf

    def published(self, sequence: int) -> None:
        self.calls.append(f"published {sequence}")

    receipt_at = -math.inf

    def silent_since(self) -> float:
        return math.inf


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def reach() -> Reach:
    return Reach("door", Patience(offline_s=0.05, silence_s=1.0, return_s=0.05))


@pytest.fixture
def faults() -> list[StorageError]:
    return []


@pytest.fixture
def courier(
    sender: FakeSender, reach: Reach, faults: list[StorageError], counters: Counters
) -> Iterator[Courier]:
    courier = Courier(counters, faults.append)
    courier.add("door", cast("Sender", sender), reach)
    courier.start()
    yield courier
    courier.stop()


def connect(courier: Courier) -> None:
    courier.connected()
    courier.node("e1", online=True)


def test_sleeps_until_something_happens_or_is_due(
    courier: Courier, sender: FakeSender, wait_until: WaitUntil
) -> None:
    courier.wake()
    assert sender.steps == 0, "nobody is there"
    connect(courier)
    wait_until(lambda: sender.steps == 1, "the connection does not wake it")
    events: list[Callable[[], None]] = [
        courier.wake,
        lambda: courier.receipt("door", Receipt([range(3)])),
        lambda: courier.node("e2", online=True),
    ]
    for number, event in enumerate(events, start=2):
        event()
        wait_until(lambda: sender.steps == number, "an event does not wake it")  # noqa: B023
    assert sender.calls == ["again", "again", "receipt [range(0, 3)]", "again"]
    sender.pause_s = 0.01
    courier.wake()
    wait_until(lambda: sender.steps >= 8, "time does not wake it")


def test_connection_that_is_lost_stops_the_sending(
    courier: Courier, sender: FakeSender, wait_until: WaitUntil
) -> None:
    connect(courier)
    wait_until(lambda: sender.steps == 1, "not connected")
    courier.disconnected()
    wait_until(lambda: not courier._posted, "not heard")
    courier.wake()
    courier.node("e1", online=False)
    wait_until(lambda: not courier._posted, "not heard")
    assert sender.steps == 1


def test_what_others_say_is_bounded(
    courier: Courier, sender: FakeSender, counters: Counters, wait_until: WaitUntil
) -> None:
    sender.open.clear()
    connect(courier)
    wait_until(lambda: not courier._posted, "not connected")
    for _ in range(MAX_POSTED + 7):
        courier.receipt("door", Receipt([range(1)]))
    courier.disconnected()
    assert counters.value("aiflow_orders_dropped_total") == 7
    assert len(courier._posted) == MAX_POSTED + 1
    sender.open.set()
    wait_until(lambda: not courier._posted, "not worked off")


def test_fault_passes(
    courier: Courier,
    sender: FakeSender,
    faults: list[StorageError],
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.01)
    sender.fault = StorageError("no space left on the disk")
    connect(courier)
    wait_until(lambda: sender.steps >= 2, "not tried again")
    assert [str(fault) for fault in faults] == ["no space left on the disk"]
    assert "Traceback" not in caplog.text
    sender.fault = ZeroDivisionError()
    courier.wake()
    wait_until(lambda: sender.steps >= 4, "not tried again")
    assert "ZeroDivisionError" in caplog.text, "a bug is logged with its traceback"


def test_without_a_connection_or_a_node_a_camera_is_out_of_reach(
    courier: Courier, reach: Reach, wait_until: WaitUntil
) -> None:
    wait_until(lambda: reach.why is Why.DISCONNECTED, "it never connected")
    courier.connected()
    courier.node("edge1", online=True)
    wait_until(lambda: reach.why is None, "an edge node is there")
    courier.node("edge1", online=False)
    wait_until(lambda: reach.why is Why.NO_NODE, "the node went away")
    courier.disconnected()
    wait_until(lambda: reach.why is Why.DISCONNECTED, "and the broker too")


def test_an_answer_that_was_overdue_ends_the_silence(
    courier: Courier, sender: FakeSender, wait_until: WaitUntil
) -> None:
    courier.line = line = Line(unanswered_s=0.0, deadline_s=1.0)
    courier.answered(line.ask(time.monotonic() - 5), Reason(0, "Success"))
    wait_until(lambda: "through" in sender.calls, "the answer says nothing")


def test_sign_of_life_is_a_turn_without_a_fault_of_ours(
    courier: Courier,
    sender: FakeSender,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    courier.ask()
    wait_until(lambda: not courier.pulse.silent, "waiting for a broker is no reason for silence")
    connect(courier)
    wait_until(lambda: sender.steps == 1, "not connected")
    sender.fault = StorageError("no space left on the disk")
    courier.ask()
    wait_until(lambda: not courier.pulse.silent, "a full disk is no reason for silence")
    sender.open.clear()
    courier.ask()
    time.sleep(0.05)
    assert courier.pulse.silent, "it is stuck"
    sender.fault = ZeroDivisionError()
    sender.open.set()
    wait_until(lambda: sender.fault is None, "no turn")
    time.sleep(0.05)
    assert courier.pulse.silent, "a turn that a bug has ended does not count"
    courier.wake()
    wait_until(lambda: not courier.pulse.silent, "the next one does")


def test_on_a_broker_without_a_node_captions_of_our_own_are_published(
    courier: Courier, sender: FakeSender, wait_until: WaitUntil
) -> None:
    courier.connected()
    courier.node("edge1", online=False)
    wait_until(lambda: "tell" in sender.calls, "nobody is there")
    courier.node("edge1", online=True)
    courier.published("door", 7)
    wait_until(lambda: "published 7" in sender.calls, "the broker has it")
    calls = sender.calls.count("tell")
    courier.wake()
    courier.published("door", 8)
    wait_until(lambda: "published 8" in sender.calls, "another turn")
    assert sender.calls.count("tell") == calls

from __future__ import annotations

import queue
import threading
import time

import pytest

from aiflow.common.notify import Notifier
from aiflow.common.watchdog import Pulse, Watchdog

PERIOD_S = 0.08


class FakeNotifier(Notifier):
    """Keeps what it is told to say."""

    def __init__(
        self, watchdog_s: float | None = PERIOD_S, address: str | None = "@nobody"
    ) -> None:
        super().__init__(address, watchdog_s)
        self.said: list[str] = []

    def alive(self, status: str) -> None:
        self.said.append(f"alive: {status}")

    def status(self, status: str) -> None:
        self.said.append(status)


class FakeDaemon:
    """Two threads; each answers when the test lets it."""

    def __init__(self) -> None:
        self.pulses = {"send loop": Pulse(), "stream": Pulse()}
        self.answering = set(self.pulses)
        self.asked = 0

    def ask(self) -> None:
        self.asked += 1
        for name, pulse in self.pulses.items():
            pulse.ask()
            if name in self.answering:
                pulse.beat()

    def silent(self) -> list[str]:
        return [name for name, pulse in self.pulses.items() if pulse.silent]

    def status(self) -> str:
        return "well"


@pytest.fixture
def ended() -> queue.SimpleQueue[int]:
    return queue.SimpleQueue()


def silent(pulse: Pulse) -> bool:
    return pulse.silent  # mypy takes a property for what it was a line before


def test_pulse_owes_a_turn_from_the_question_on() -> None:
    pulse = Pulse()
    assert not silent(pulse)
    pulse.ask()
    assert silent(pulse)
    pulse.beat()
    assert not silent(pulse)


def test_nothing_is_owed_by_who_waits_for_work() -> None:
    pulse = Pulse()
    pulse.rest()
    pulse.ask()
    assert not silent(pulse)
    pulse.work()
    assert silent(pulse), "asked before the work came, it answers when it has done it"
    pulse.rest()
    assert not silent(pulse)
    pulse.work()
    assert not silent(pulse), "it was not asked since"


def test_fed_while_all_parts_answer(ended: queue.SimpleQueue[int]) -> None:
    daemon, notifier = FakeDaemon(), FakeNotifier()
    watchdog = Watchdog(daemon, notifier)
    assert not watchdog.wait(ended, 10 * PERIOD_S)
    assert set(notifier.said) == {"alive: well"}
    assert len(notifier.said) >= 4
    assert daemon.asked == len(notifier.said) + 1


def test_one_silent_part_ends_the_feeding_and_its_answer_resumes_it(
    ended: queue.SimpleQueue[int], caplog: pytest.LogCaptureFixture
) -> None:
    daemon, notifier = FakeDaemon(), FakeNotifier()
    daemon.answering.remove("stream")
    watchdog = Watchdog(daemon, notifier)
    watchdog.wait(ended, 6 * PERIOD_S)
    assert set(notifier.said) == {"no sign of life from stream"}
    assert caplog.text.count("no sign of life from stream; the watchdog is not fed") == 1
    assert daemon.asked == 1, "not asked again before it has answered"
    daemon.pulses["stream"].beat()
    daemon.answering.add("stream")
    watchdog.wait(ended, 2 * PERIOD_S)
    assert notifier.said[-1] == "alive: well"


def test_end_comes_by_the_queue_at_once(ended: queue.SimpleQueue[int]) -> None:
    watchdog = Watchdog(FakeDaemon(), FakeNotifier(3600.0))
    threading.Timer(0.05, ended.put, [15]).start()
    began = time.monotonic()
    assert watchdog.wait(ended)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("address", [None, "@nobody"])
def test_without_a_watchdog_it_only_waits(
    address: str | None, ended: queue.SimpleQueue[int]
) -> None:
    notifier = FakeNotifier(None, address)
    assert not Watchdog(FakeDaemon(), notifier).wait(ended, 0.05)
    assert notifier.said == []

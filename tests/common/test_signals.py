from __future__ import annotations

import os
import signal
import threading

import pytest

from aiflow.common.signals import SIGNALS, caught_signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_comes_by_the_queue(number: signal.Signals) -> None:
    with caught_signals() as signals:
        os.kill(os.getpid(), number)
        assert signals.get(timeout=5.0) == number


def test_afterwards_all_is_as_it_was() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with caught_signals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_none_is_lost_just_before_the_wait() -> None:
    pid, rounds = os.getpid(), 500
    turn = threading.Barrier(2)

    def kill() -> None:
        for _ in range(rounds):
            turn.wait(10.0)
            os.kill(pid, signal.SIGTERM)

    with caught_signals() as signals:
        killer = threading.Thread(target=kill)
        killer.start()
        for _ in range(rounds):
            turn.wait(10.0)
            assert signals.get(timeout=5.0) == signal.SIGTERM
        killer.join()


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with caught_signals():
        assert threading.active_count() == before + 1
    assert threading.active_count() == before

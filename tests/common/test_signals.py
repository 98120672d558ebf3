from __future__ import annotations

import os
import signal

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

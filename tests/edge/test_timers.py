from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from tests.edge.conftest import due

from aiflow.common.metrics import Counters
from aiflow.edge.timers import Timers

if TYPE_CHECKING:
    from tests.edge.conftest import Clock


def test_what_is_due_comes_in_order(clock: Clock) -> None:
    timers, rung = Timers(Counters(), clock), list[str]()
    timers.after(2.0, lambda: rung.append("late"))
    timers.after(1.0, lambda: rung.append("early"))
    timers.after(1.0, lambda: rung.append("as early, but second"))
    assert due(timers) == []
    clock.now += 1.0
    for action in due(timers):
        action()
    assert rung == ["early", "as early, but second"]
    clock.now += 1.0
    assert len(due(timers)) == 1


def test_wait_sleeps_until_the_next() -> None:
    timers = Timers(Counters())
    timers.after(0.03, lambda: None)
    began = time.monotonic()
    assert timers.wait() is not None
    assert 0.025 < time.monotonic() - began < 1.0


def test_an_earlier_timer_wakes_the_sleeper() -> None:
    timers, done = Timers(Counters()), threading.Event()
    timers.after(60.0, lambda: None)

    def sleep() -> None:
        action = timers.wait()
        assert action is not None
        action()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    timers.after(0.0, done.set)
    assert done.wait(5.0)
    sleeper.join()


def test_closing_lets_the_sleeper_go() -> None:
    timers, answers = Timers(Counters()), list[object]()
    timers.after(60.0, lambda: None)
    sleeper = threading.Thread(target=lambda: answers.append(timers.wait()))
    sleeper.start()
    timers.close()
    sleeper.join(5.0)
    assert answers == [None]
    timers.after(0.0, lambda: None)
    assert timers.wait() is None

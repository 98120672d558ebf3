from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from aiflow.edge.alarms import Alarms

if TYPE_CHECKING:
    from tests.edge.conftest import Clock


def test_what_is_due_comes_in_order(clock: Clock) -> None:
    alarms, rung = Alarms(clock), list[str]()
    alarms.after(2.0, lambda: rung.append("late"))
    alarms.after(1.0, lambda: rung.append("early"))
    alarms.after(1.0, lambda: rung.append("as early, but second"))
    assert alarms.due() == []
    clock.now += 1.0
    for action in alarms.due():
        action()
    assert rung == ["early", "as early, but second"]
    clock.now += 1.0
    assert len(alarms.due()) == 1


def test_wait_sleeps_until_the_next() -> None:
    alarms = Alarms()
    alarms.after(0.03, lambda: None)
    began = time.monotonic()
    assert alarms.wait() is not None
    assert 0.025 < time.monotonic() - began < 1.0


def test_an_earlier_alarm_wakes_the_sleeper() -> None:
    alarms, done = Alarms(), threading.Event()
    alarms.after(60.0, lambda: None)

    def sleep() -> None:
        action = alarms.wait()
        assert action is not None
        action()

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    alarms.after(0.0, done.set)
    assert done.wait(5.0)
    sleeper.join()


def test_closing_lets_the_sleeper_go() -> None:
    alarms, answers = Alarms(), list[object]()
    alarms.after(60.0, lambda: None)
    sleeper = threading.Thread(target=lambda: answers.append(alarms.wait()))
    sleeper.start()
    alarms.close()
    sleeper.join(5.0)
    assert answers == [None]
    alarms.after(0.0, lambda: None)
    assert alarms.wait() is None

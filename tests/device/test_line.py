from __future__ import annotations

import pytest

from aiflow.common.wire import Why
from aiflow.device.line import ASK_EVERY_S, Line


@pytest.fixture
def line() -> Line:
    return Line(unanswered_s=0.8, deadline_s=2.0)


def measure(line: Line, seconds: float, now: float = 0.0) -> None:
    """One question, answered after so long."""
    line.answered(line.ask(now), now + seconds)


def test_asks_one_question_at_a_time_and_not_too_often(line: Line) -> None:
    assert line.wants(0)
    asked = line.ask(0)
    assert not line.wants(10), "the answer is still awaited"
    line.answered(asked, 0.1)
    assert not line.wants(0.2)
    assert line.wants(ASK_EVERY_S)


def test_an_answer_that_does_not_come_is_a_trouble_from_a_time_on(line: Line) -> None:
    assert line.troubles(0) == {}
    asked = line.ask(5)
    assert line.troubles(5) == {Why.UNANSWERED: 5.8}
    line.answered(asked, 5.2)
    assert line.troubles(6) == {}
    assert line.ack_s.value == pytest.approx(0.2)


def test_a_link_that_was_dead_is_not_taken_for_a_slow_one(line: Line) -> None:
    measure(line, 0.1)
    line.edge_s.add(0.0)
    assert line.answered(line.ask(10), 19.0), "overdue"
    assert line.ack_s.value == pytest.approx(0.1 + 0.25 * (0.8 - 0.1))
    assert line.troubles(19) == {}
    assert not line.answered(line.ask(20), 20.1)


def test_a_link_that_has_become_slow_is_learned_all_the_same(line: Line) -> None:
    for number in range(20):
        line.answered(line.ask(10.0 * number), 10.0 * number + 3.0)
    assert line.ack_s.value == pytest.approx(3.0, rel=0.05)


def test_a_slow_link_gets_more_time(line: Line) -> None:
    measure(line, 0.5)
    line.ask(10)
    assert line.troubles(10) == {Why.UNANSWERED: pytest.approx(11.5)}


def test_an_old_answer_says_nothing_about_a_new_question(line: Line) -> None:
    old = line.ask(0)
    line.lost()
    assert line.troubles(9) == {}, "the connection ended: that is another trouble"
    line.ask(10)
    line.answered(old, 10.1)
    assert line.ack_s.value is None
    assert line.troubles(11) == {Why.UNANSWERED: pytest.approx(10.8)}


def test_nothing_is_predicted_before_everything_is_measured(line: Line) -> None:
    measure(line, 0.7)
    assert line.predicted_s is None
    assert line.troubles(10) == {}
    line.edge_s.add(0.5)
    assert line.predicted_s == pytest.approx(1.2)


def test_an_edge_that_misses_the_deadline_is_slow_until_it_keeps_it_well(line: Line) -> None:
    measure(line, 0.5)
    line.edge_s.add(2.0)
    assert line.troubles(10) == {Why.SLOW: 10}
    assert line.troubles(12) == {Why.SLOW: 10}
    line.edge_s.value = 1.4
    assert line.troubles(13) == {Why.SLOW: 10}, "1.9 s is within the deadline, not well within"
    line.edge_s.value = 1.0
    assert line.troubles(14) == {}


def test_a_device_that_is_slower_still_leaves_it_to_the_edge(line: Line) -> None:
    measure(line, 0.5)
    line.edge_s.add(2.0)
    line.own_s.add(4.0)
    assert line.troubles(10) == {}


def test_means_follow_what_is_measured(line: Line) -> None:
    for _ in range(40):
        line.edge_s.add(0.1)
    line.edge_s.add(0.5)
    assert line.edge_s.value == pytest.approx(0.2)
    measure(line, 0.1)
    assert line.stats() == {"ack_s": 0.1, "edge_s": 0.2, "predicted_s": 0.3}

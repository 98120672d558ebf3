from __future__ import annotations

import math

import pytest

from aiflow.common.wire import Why
from aiflow.device.edge_health import ASK_EVERY_S, SETTLE_S, EdgeHealth, HealthLimits

LIMITS = HealthLimits(offline_s=1, silence_s=5, return_s=3, unanswered_s=0.8, deadline_s=2.0)


def new(now: float = 0.0, limits: HealthLimits = LIMITS) -> EdgeHealth:
    return EdgeHealth(["door", "yard"], limits, measures=True, now=now)


@pytest.fixture
def health() -> EdgeHealth:
    """Connected since 0, with an edge node."""
    health = new()
    health.connected_again(0)
    health.node("a", 0, online=True)
    return health


def ack(health: EdgeHealth, seconds: float, now: float = 0.0) -> None:
    """One frame that asks for an ack, which comes after so long."""
    health.acknowledged(health.asked(now), now + seconds)


# The connection and the edge nodes.


def test_sending_waits_for_a_connection_and_then_for_word_of_a_node() -> None:
    health = new()
    assert health.wait_s(0) == math.inf
    health.connected_again(10)
    assert health.wait_s(10) == SETTLE_S
    assert health.wait_s(10 + SETTLE_S) == 0
    health.disconnected(15)
    assert health.wait_s(20) == math.inf


def test_a_node_that_comes_back_is_news() -> None:
    health = new()
    health.connected_again(0)
    assert health.node("a", 1, online=True)
    assert health.wait_s(0) == 0, "nobody need be waited for"
    assert not health.node("a", 1, online=True), "it has been there"
    assert not health.node("a", 1, online=False)
    assert health.wait_s(100) == math.inf, "all who spoke are offline"
    assert not health.node("b", 1, online=False)
    assert health.node("a", 1, online=True)
    assert health.wait_s(100) == 0
    health.connected_again(200)
    assert health.node("a", 1, online=True), "after a reconnect nothing is certain"


def test_a_broker_without_a_node_is_deserted() -> None:
    health = new()
    assert not health.deserted(100), "there is no broker"
    health.connected_again(100)
    assert not health.deserted(100), "a node may be about to speak"
    assert health.deserted(100 + SETTLE_S)
    health.node("a", 101, online=True)
    assert not health.deserted(200)
    health.node("a", 201, online=False)
    assert health.deserted(201)


def test_nodes_are_bounded() -> None:
    health = new()
    health.connected_again(0)
    for number in range(1000):
        health.node(f"n{number}", 1, online=False)
    assert not health.node("one more", 1, online=True)
    assert len(health._nodes) == 64


def test_without_a_connection_or_a_node_the_device_captions() -> None:
    health = new(3)
    assert health.why("door", 3.9) is None
    assert health.why("door", 4) is Why.DISCONNECTED
    health.connected_again(10)
    health.node("a", 10, online=True)
    assert health.why("door", 12.9) is Why.DISCONNECTED
    assert health.why("door", 13) is None
    health.node("a", 20, online=False)
    health.node("b", 20.5, online=False)
    assert health.why("door", 20.9) is None
    assert health.why("door", 21) is Why.NO_NODE
    health.node("b", 22, online=True)
    assert health.why("door", 25) is None
    health.node("b", 26, online=False)
    assert health.why("door", 26.9) is None
    health.disconnected(26.95)
    health.disconnected(27.5)
    assert health.why("door", 27.94) is None
    assert health.why("door", 27.95) is Why.DISCONNECTED, "since the first word of it"


# What lasts, and the way back.


def test_a_short_trouble_changes_nothing(health: EdgeHealth) -> None:
    health.disconnected(10)
    assert health.why("door", 10.9) is None
    health.connected_again(10.95)
    health.node("a", 10.95, online=True)
    assert health.why("door", 20) is None


def test_the_way_back_needs_time_without_trouble(health: EdgeHealth) -> None:
    health.disconnected(10)
    assert health.why("door", 11) is Why.DISCONNECTED
    health.connected_again(20)
    health.disconnected(22)
    health.connected_again(22.5)
    assert health.why("door", 25.4) is Why.DISCONNECTED, "it begins anew"
    assert health.why("door", 25.5) is None


def test_silence_is_a_trouble_when_it_lasts(health: EdgeHealth) -> None:
    health.sent("door", 10)
    assert health.why("door", 14.9) is None
    assert health.why("door", 15) is Why.SILENCE
    assert health.why("yard", 15) is None, "each camera for itself"


def test_silence_begins_with_the_first_frame_sent_after_a_receipt(health: EdgeHealth) -> None:
    assert health.silent_since("door") == math.inf
    health.sent("door", 2)
    health.sent("door", 3)
    assert health.silent_since("door") == 2
    health.receipted("door", 4)
    assert health.silent_since("door") == math.inf, "others may be such as nobody can read"
    health.sent("door", 5)
    assert health.silent_since("door") == 5
    health.connected_again(6)
    assert health.silent_since("door") == math.inf
    health.sent("door", 7)
    assert health.silent_since("door") == 7


def test_what_is_sent_after_a_silence_must_get_a_receipt(health: EdgeHealth) -> None:
    health.receipted("door", 9)
    health.sent("door", 10)
    assert health.why("door", 15) is Why.SILENCE
    health.disconnected(16)
    health.connected_again(17)
    health.sent("door", 17)
    for now in (17, 20, 21.5):
        assert health.why("door", now) is Why.SILENCE, "connected, and still no receipt"
    health.receipted("door", 21.6)
    health.sent("door", 21.6)
    assert health.why("door", 24.5) is Why.SILENCE
    assert health.why("door", 24.6) is None


def test_frames_on_their_way_are_no_trouble(health: EdgeHealth) -> None:
    for second in range(100):
        health.sent("door", second)
        assert health.why("door", second + 0.5) is None
        if second % 2:
            health.receipted("door", second + 0.6)


# The broker's acks.


def test_asks_for_one_ack_at_a_time_and_not_too_often(health: EdgeHealth) -> None:
    assert health.wants_ack(0)
    asked = health.asked(0)
    assert not health.wants_ack(10), "the ack is still awaited"
    health.acknowledged(asked, 0.1)
    assert not health.wants_ack(0.2)
    assert health.wants_ack(ASK_EVERY_S)


def test_without_measuring_no_ack_is_asked_for() -> None:
    assert not EdgeHealth(["door"], LIMITS, measures=False, now=0).wants_ack(10)


def test_an_ack_that_does_not_come_is_a_trouble_from_a_time_on(health: EdgeHealth) -> None:
    asked = health.asked(5)
    assert health.why("door", 5.79) is None
    health.acknowledged(asked, 5.2)
    assert health.why("door", 6) is None
    assert health.ack_s.value == pytest.approx(0.2)
    health.asked(10)
    assert health.why("door", 10.81) is Why.UNANSWERED


def test_a_question_on_its_way_is_no_trouble_until_its_ack_is_overdue(health: EdgeHealth) -> None:
    asked = health.asked(10)
    assert health.why("door", 10.81) is Why.UNANSWERED
    health.acknowledged(asked, 12)
    asked = health.asked(13)
    health.acknowledged(asked, 13.1)
    health.asked(14.9)
    assert health.why("door", 14.95) is Why.UNANSWERED
    assert health.why("door", 15.0) is None


def test_after_a_silent_link_the_brokers_ack_is_enough(health: EdgeHealth) -> None:
    health.receipted("door", 8.9)
    health.sent("door", 9)
    asked = health.asked(10)
    assert health.why("door", 10.8) is Why.UNANSWERED
    health.acknowledged(asked, 12)
    assert health.why("door", 14.9) is Why.UNANSWERED
    assert health.why("door", 15) is None, "receipts are gathered for a while"


def test_an_overdue_ack_ends_the_silence(health: EdgeHealth) -> None:
    health.sent("door", 5)
    asked = health.asked(5)
    health.acknowledged(asked, 5.5)
    assert health.silent_since("door") == 5
    asked = health.asked(6)
    health.acknowledged(asked, 15)
    assert health.silent_since("door") == 15, "until then, no receipt could come"
    assert health.silent_since("yard") == math.inf


def test_a_link_that_was_dead_is_not_taken_for_a_slow_one(health: EdgeHealth) -> None:
    ack(health, 0.1)
    health.delayed(0.0)
    ack(health, 9.0, now=10)
    assert health.ack_s.value == pytest.approx(0.1 + 0.25 * (0.8 - 0.1))


def test_a_link_that_has_become_slow_is_learned_all_the_same(health: EdgeHealth) -> None:
    for number in range(20):
        ack(health, 3.0, now=10.0 * number)
    assert health.ack_s.value == pytest.approx(3.0, rel=0.05)


def test_a_slow_link_gets_more_time(health: EdgeHealth) -> None:
    ack(health, 0.5)
    health.asked(10)
    assert health.why("door", 11.49) is None
    assert health.why("door", 11.51) is Why.UNANSWERED


def test_an_old_ack_says_nothing_about_a_new_question(health: EdgeHealth) -> None:
    old = health.asked(0)
    health.disconnected(0.5)
    health.connected_again(0.6)
    assert health.why("door", 9) is None, "the connection ended: that is another trouble"
    health.asked(10)
    health.acknowledged(old, 10.1)
    assert health.ack_s.value is None
    assert health.why("door", 10.81) is Why.UNANSWERED


# What is predicted.


def test_nothing_is_predicted_before_everything_is_measured(health: EdgeHealth) -> None:
    ack(health, 0.7)
    assert health.predicted_s is None
    assert health.why("door", 10) is None
    health.delayed(0.5)
    assert health.predicted_s == pytest.approx(1.2)


def test_an_edge_that_misses_the_deadline_is_slow_until_it_keeps_it_well(
    health: EdgeHealth,
) -> None:
    ack(health, 0.5)
    health.delayed(2.0)
    assert health.why("door", 10) is None
    assert health.why("door", 11) is Why.SLOW
    health.edge_s.value = 1.4
    assert health.why("door", 20) is Why.SLOW, "1.9 s is within the deadline, not well within"
    health.edge_s.value = 1.0
    assert health.why("door", 21) is Why.SLOW
    assert health.why("door", 24) is None


def test_a_device_that_is_slower_still_leaves_it_to_the_edge(health: EdgeHealth) -> None:
    ack(health, 0.5)
    health.delayed(2.0)
    health.captioned(4.0)
    assert health.why("door", 10) is None
    assert health.why("door", 20) is None


def test_means_follow_what_is_measured(health: EdgeHealth) -> None:
    for _ in range(40):
        health.delayed(0.1)
    health.delayed(0.5)
    assert health.edge_s.value == pytest.approx(0.2)
    ack(health, 0.1)
    assert health.stats() == {"ack_s": 0.1, "edge_s": 0.2, "predicted_s": 0.3}

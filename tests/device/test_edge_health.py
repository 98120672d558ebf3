from __future__ import annotations

import math

import pytest

from aiflow.common.wire import Why
from aiflow.device.reach import Patience, Reach

NEVER = -math.inf


@pytest.fixture
def reach() -> Reach:
    return Reach("door", Patience(offline_s=1, silence_s=5, return_s=3))


def test_a_short_trouble_changes_nothing(reach: Reach) -> None:
    assert reach.update(0, {}, NEVER) == math.inf
    assert reach.update(10, {Why.DISCONNECTED: 10}, NEVER) == 1, "look again then"
    assert reach.update(10.9, {Why.DISCONNECTED: 10}, NEVER) == pytest.approx(0.1)
    assert reach.update(10.95, {}, NEVER) == math.inf
    assert reach.why is None


@pytest.mark.parametrize(
    "why, limit_s",
    [(Why.DISCONNECTED, 1), (Why.NO_NODE, 1), (Why.SLOW, 1), (Why.SILENCE, 5), (Why.UNANSWERED, 0)],
)
def test_a_lasting_trouble_is_the_reason(reach: Reach, why: Why, limit_s: float) -> None:
    reach.update(10, {why: 10}, NEVER)
    assert reach.update(10 + limit_s, {why: 10}, NEVER) == math.inf
    assert reach.why is why


def test_the_way_back_needs_time_without_trouble(reach: Reach) -> None:
    reach.update(11, {Why.DISCONNECTED: 10}, NEVER)
    assert reach.update(20, {}, NEVER) == 3
    assert reach.update(22, {Why.DISCONNECTED: 22}, NEVER) == 1
    assert reach.update(22.5, {}, NEVER) == 3, "it begins anew"
    assert reach.why is Why.DISCONNECTED
    assert reach.update(25.5, {}, NEVER) == math.inf
    assert reach.why is None


def test_what_is_sent_after_a_silence_must_get_a_receipt(reach: Reach) -> None:
    reach.update(15, {Why.SILENCE: 10}, 9)
    assert reach.why is Why.SILENCE
    reach.update(16, {Why.DISCONNECTED: 16}, 9)
    for now in (17, 20, 21.5):
        reach.update(now, {Why.SILENCE: 17}, 9)
    assert reach.why is Why.SILENCE, "connected for 4 s, and still no receipt"
    assert reach.update(21.6, {Why.SILENCE: 21.5}, 21.4) == 3
    reach.update(24.6, {Why.SILENCE: 24.5}, 24.4)
    assert reach.why is None


def test_frames_on_their_way_are_no_trouble(reach: Reach) -> None:
    for second in range(100):
        reach.update(second, {Why.SILENCE: second - 2}, second - 2.5)
    assert reach.why is None


def test_a_question_on_its_way_is_no_trouble_until_its_answer_is_overdue(reach: Reach) -> None:
    assert reach.update(10, {Why.UNANSWERED: 10.8}, NEVER) == pytest.approx(0.8)
    reach.update(10.8, {Why.UNANSWERED: 10.8}, NEVER)
    assert reach.why is Why.UNANSWERED
    assert reach.update(12, {}, NEVER) == 3
    assert reach.update(13, {Why.UNANSWERED: 13.8}, NEVER) == pytest.approx(0.8)
    reach.update(15, {Why.UNANSWERED: 15.8}, NEVER)
    assert reach.why is None


def test_after_a_silent_link_the_brokers_answer_is_enough(reach: Reach) -> None:
    reach.update(10.8, {Why.UNANSWERED: 10.8}, NEVER)
    assert reach.update(12, {Why.SILENCE: 9.0}, 8.9) == pytest.approx(2), "it may be an edge's"
    reach.update(13.9, {Why.SILENCE: 13.5}, 13.0)
    assert reach.why is Why.UNANSWERED
    reach.update(15, {Why.SILENCE: 13.5}, 13.0)
    assert reach.why is None, "receipts are gathered for a while"

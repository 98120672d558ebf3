from __future__ import annotations

import pytest

from aiflow.edge.policy import Action, CloudState, Limits, decide

LIMITS = Limits(threshold=0.8, per_minute=10, max_pending=4)


def test_a_confident_draft_is_the_answer() -> None:
    decision = decide(0.8, 1, LIMITS, CloudState())
    assert decision.action is Action.ANSWER
    assert decision.cause == "confident"
    assert decision.reason == "confidence 0.80 >= 0.80"


def test_in_mode_split_the_cloud_is_never_asked() -> None:
    decision = decide(0.55, 1, LIMITS, CloudState(), cloud_allowed=False)
    assert decision.action is Action.ANSWER
    assert decision.cause == "split"
    assert decision.reason == "confidence 0.55 < 0.80, the device's mode is split"


def test_an_unsure_draft_goes_to_the_cloud() -> None:
    decision = decide(0.55, 1, LIMITS, CloudState(pending=3, asked_last_minute=9))
    assert decision.action is Action.ESCALATE
    assert decision.reason == "confidence 0.55 < 0.80, asked the cloud"


@pytest.mark.parametrize(
    "limits, payloads, cloud, cause, words",
    [
        (Limits(0.8, 0, 4), 1, CloudState(), "off", "escalation is off"),
        (LIMITS, 9, CloudState(), "payloads", "too many refinements to send along"),
        (LIMITS, 1, CloudState(rest_s=3.7), "resting", "cloud failed, resting 4 s"),
        (LIMITS, 1, CloudState(pending=4), "pending", "too many escalations pending"),
        (LIMITS, 1, CloudState(asked_last_minute=10), "cap", "escalations of this minute used"),
    ],
)
def test_what_keeps_an_unsure_draft_at_the_edge(
    limits: Limits, payloads: int, cloud: CloudState, cause: str, words: str
) -> None:
    decision = decide(0.5, payloads, limits, cloud)
    assert decision.action is Action.ANSWER
    assert decision.cause == cause
    assert decision.reason == f"confidence 0.50 < 0.80, {words}"

from __future__ import annotations

import pytest

from aiflow.edge.policy import Action, AskLimits, CloudState, Decision, DeviceState, Repairs, decide

LIMITS = AskLimits(threshold=0.8, per_minute=10, max_pending=4)
WHOLE = DeviceState(layers=2)
BASE = DeviceState(layers=1, missing=1, bytes=60, seconds=0.3)
REPAIRS = Repairs({1: 0.1, 2: 0.1}, {1: 0.2, 2: 0.0})


def decided(
    confidence: float,
    payloads: int,
    limits: AskLimits,
    cloud: CloudState,
    device: DeviceState = WHOLE,
    *,
    cloud_allowed: bool = True,
) -> Decision:
    return decide(
        confidence,
        payloads,
        limits,
        cloud,
        device=device,
        repairs=REPAIRS,
        cloud_allowed=cloud_allowed,
    )


def test_a_confident_draft_is_the_answer() -> None:
    decision = decided(0.8, 1, LIMITS, CloudState())
    assert decision.action is Action.KEEP
    assert decision.cause == "confident"
    assert decision.reason == "confidence 0.80 >= 0.80"


def test_in_mode_split_the_cloud_is_never_asked() -> None:
    decision = decided(0.55, 1, LIMITS, CloudState(), cloud_allowed=False)
    assert decision.action is Action.KEEP
    assert decision.cause == "split"
    assert decision.reason == "confidence 0.55 < 0.80, the device's mode is split"


def test_an_unsure_draft_goes_to_the_cloud() -> None:
    decision = decided(0.55, 1, LIMITS, CloudState(pending=3, asked_last_minute=9))
    assert decision.action is Action.ESCALATE
    assert decision.reason == "confidence 0.55 < 0.80, asked the cloud"


@pytest.mark.parametrize(
    "limits, payloads, cloud, cause, words",
    [
        (AskLimits(0.8, 0, 4), 1, CloudState(), "off", "escalation is off"),
        (LIMITS, 9, CloudState(), "payloads", "too many refinements to send along"),
        (LIMITS, 1, CloudState(rest_s=3.7), "resting", "cloud failed, resting 4 s"),
        (LIMITS, 1, CloudState(pending=4), "pending", "too many escalations pending"),
        (LIMITS, 1, CloudState(asked_last_minute=10), "cap", "escalations of this minute used"),
    ],
)
def test_what_keeps_an_unsure_draft_at_the_edge(
    limits: AskLimits, payloads: int, cloud: CloudState, cause: str, words: str
) -> None:
    decision = decided(0.5, payloads, limits, cloud)
    assert decision.action is Action.KEEP
    assert decision.cause == cause
    assert decision.reason == f"confidence 0.50 < 0.80, {words}"


def test_the_device_is_asked_for_layers_where_that_is_worth_more() -> None:
    limits = AskLimits(threshold=0.8, per_minute=10, max_pending=4, refines_per_minute=5)
    decision = decided(0.5, 1, limits, CloudState(), BASE)
    assert decision.action is Action.REFINE
    assert decision.reason == "confidence 0.50 < 0.80, asked the device for more"
    slow = DeviceState(layers=1, missing=1, bytes=60, seconds=30.0)
    assert decided(0.5, 1, limits, CloudState(), slow).action is Action.ESCALATE
    dear = CloudState(bytes=150, seconds=90.0)
    assert decided(0.5, 1, limits, dear, slow).action is Action.REFINE


def test_the_device_is_asked_where_the_cloud_cannot_be() -> None:
    limits = AskLimits(threshold=0.8, per_minute=0, max_pending=4, refines_per_minute=5)
    slow = DeviceState(layers=1, missing=1, seconds=30.0)
    assert decided(0.5, 1, limits, CloudState(), slow).action is Action.REFINE
    spent = DeviceState(layers=1, missing=1, asked_last_minute=5)
    assert decided(0.5, 1, limits, CloudState(), spent).cause == "off"
    assert decided(0.9, 1, limits, CloudState(), BASE).cause == "confident"


def test_repairs_come_from_how_often_each_tier_is_right() -> None:
    figures = {
        "edge": {"by_layers": {"1": {"exact": 0.8}, "2": {"exact": 0.9}}},
        "cloud": {"by_layers": {"1": {"exact": 0.85}, "2": {"exact": 0.95}}},
    }
    repairs = Repairs.of(figures, 2)
    assert repairs.cloud == {1: pytest.approx(0.25), 2: pytest.approx(0.5)}
    assert repairs.refine == {1: pytest.approx(0.5), 2: 0.0}
    assert Repairs.of({}, 2) == Repairs({1: 0.0, 2: 0.0}, {1: 0.0, 2: 0.0})

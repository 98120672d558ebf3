"""Answer, or ask the cloud? A pure function of values, with the reason in words. A leaf.

Later, asking the device for more layers of the frame becomes a third way.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from aiflow.common.wire import MAX_ESCALATED_PAYLOADS


class Action(Enum):
    """What to do with a draft caption. It is published in either case."""

    ANSWER = "answer"
    ESCALATE = "escalate"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner of the node has set."""

    threshold: float
    """Ask below this confidence."""
    per_minute: int
    """Most escalations in any minute; 0 turns them off."""
    max_pending: int
    """Most escalations unanswered at one time."""


@dataclass(frozen=True, slots=True)
class CloudState:
    """What is known of the cloud at this moment."""

    pending: int = 0
    asked_last_minute: int = 0
    rest_s: float = 0.0
    """It failed lately and is left alone for so long."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An action and why, fit for the caption's `reason`."""

    action: Action
    reason: str
    cause: str
    """The same as a label for counters."""


def decide(
    confidence: float,
    payloads: int,
    limits: Limits,
    cloud: CloudState,
    *,
    cloud_allowed: bool = True,
) -> Decision:
    """Decide about one draft.

    `confidence` is the calibrated chance that the draft is right; `payloads` is the number of them
    that the cloud would need to decode the frame; `cloud_allowed` what the device's mode says.
    """
    if confidence >= limits.threshold:
        return Decision(
            Action.ANSWER, f"confidence {confidence:.2f} >= {limits.threshold:.2f}", "confident"
        )
    below = f"confidence {confidence:.2f} < {limits.threshold:.2f}"
    for hindered, why, cause in (
        (not cloud_allowed, "the device's mode is split", "split"),
        (limits.per_minute == 0, "escalation is off", "off"),
        (payloads > MAX_ESCALATED_PAYLOADS, "too many refinements to send along", "payloads"),
        (cloud.rest_s > 0, f"cloud failed, resting {cloud.rest_s:.0f} s", "resting"),
        (cloud.pending >= limits.max_pending, "too many escalations pending", "pending"),
        (cloud.asked_last_minute >= limits.per_minute, "escalations of this minute used", "cap"),
    ):
        if hindered:
            return Decision(Action.ANSWER, f"{below}, {why}", cause)
    return Decision(Action.ESCALATE, f"{below}, asked the cloud", "escalated")

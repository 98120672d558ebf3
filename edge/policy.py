"""Keep a caption, ask the device for more, or ask the cloud? Pure functions of values. A leaf.

    gain   the chance that the caption is wrong, times the share of wrong ones that asking repairs
    cost   bytes and seconds of asking, as measured, at fixed prices

Asking is worth while below the threshold only, which the bundle's maker has set for quality. Of
what can be asked, the best gain for its cost is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from aiflow.common.wire import MAX_ESCALATED_PAYLOADS


class Action(Enum):
    """What to do with a draft caption. It is published in either case."""

    KEEP = "keep"
    REFINE = "refine"
    ESCALATE = "escalate"


BYTES_A_SECOND: Final = 200.0
"""So many bytes cost as much as a second."""


@dataclass(frozen=True, slots=True)
class AskLimits:
    """What the owner of the node has set."""

    threshold: float
    """Ask below this confidence."""
    per_minute: int
    """Most escalations in any minute; 0 turns them off."""
    max_pending: int
    """Most escalations unanswered at one time."""
    refines_per_minute: int = 0
    """Most orders for layers in any minute; 0 turns them off."""


@dataclass(frozen=True, slots=True)
class Repairs:
    """Shares of the edge's wrong captions that asking repairs, by the layers at hand (1, 2, ...).

    Measured on the calibration split; 0 where nothing is known.
    """

    cloud: Mapping[int, float]
    refine: Mapping[int, float]

    @classmethod
    def of(cls, figures: Mapping[str, Any], layers: int) -> Repairs:
        """From a manifest's figures: how often a tier is right, by the layers that it reads."""

        def wrong(tier: str, count: int) -> float | None:
            exact = figures.get(tier, {}).get("by_layers", {}).get(str(count), {}).get("exact")
            return None if exact is None else 1.0 - float(exact)

        def share(before: float | None, after: float | None) -> float:
            return max(0.0, 1.0 - after / before) if before and after is not None else 0.0

        counts = range(1, layers + 1)
        return cls(
            {count: share(wrong("edge", count), wrong("cloud", count)) for count in counts},
            {count: share(wrong("edge", count), wrong("edge", layers)) for count in counts},
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """What does not change from frame to frame."""

    limits: AskLimits
    repairs: Repairs


@dataclass(frozen=True, slots=True)
class CloudState:
    """What is known of the cloud at this moment."""

    pending: int = 0
    asked_last_minute: int = 0
    rest_s: float = 0.0
    """It failed lately and is left alone for so long."""
    bytes: float = 150.0
    """Of a question, lately."""
    seconds: float = 0.1
    """Until its answer, lately."""


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What a frame's device could add to it."""

    layers: int
    """At hand."""
    missing: int = 0
    """That could be asked for: 0 if they are all here, or have been asked for."""
    asked_last_minute: int = 0
    bytes: float = 60.0
    """Of an order and what it brings, lately."""
    seconds: float = 0.3
    """Until it is here, lately."""


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
    limits: AskLimits,
    cloud: CloudState,
    *,
    device: DeviceState,
    repairs: Repairs,
    cloud_allowed: bool = True,
) -> Decision:
    """Decide about one draft.

    `confidence` is the calibrated chance that the draft is right; `payloads` is the number of them
    that the cloud would need to decode the frame; `cloud_allowed` what the device's mode says.
    """
    if confidence >= limits.threshold:
        return Decision(
            Action.KEEP, f"confidence {confidence:.2f} >= {limits.threshold:.2f}", "confident"
        )
    below = _below(confidence, limits)
    refinable = device.missing > 0 and device.asked_last_minute < limits.refines_per_minute
    hindrance = _hindrance(payloads, limits, cloud, cloud_allowed=cloud_allowed)
    if refinable:
        gain = (1 - confidence) * repairs.refine.get(device.layers, 0.0)
        other = (1 - confidence) * repairs.cloud.get(device.layers, 0.0)
        worth = _worth(gain, device.bytes, device.seconds)
        if hindrance is not None or worth >= _worth(other, cloud.bytes, cloud.seconds):
            return Decision(Action.REFINE, f"{below}, asked the device for more", "refined")
    if hindrance is not None:
        why, cause = hindrance
        return Decision(Action.KEEP, f"{below}, {why}", cause)
    return Decision(Action.ESCALATE, f"{below}, asked the cloud", "escalated")


def _below(confidence: float, limits: AskLimits) -> str:
    return f"confidence {confidence:.2f} < {limits.threshold:.2f}"


def _hindrance(
    payloads: int, limits: AskLimits, cloud: CloudState, *, cloud_allowed: bool
) -> tuple[str, str] | None:
    """Why the cloud cannot be asked, in words and as a label; None if it can."""
    for hindered, why, cause in (
        (not cloud_allowed, "the device's mode is split", "split"),
        (limits.per_minute == 0, "escalation is off", "off"),
        (payloads > MAX_ESCALATED_PAYLOADS, "too many refinements to send along", "payloads"),
        (cloud.rest_s > 0, f"cloud failed, resting {cloud.rest_s:.0f} s", "resting"),
        (cloud.pending >= limits.max_pending, "too many escalations pending", "pending"),
        (cloud.asked_last_minute >= limits.per_minute, "escalations of this minute used", "cap"),
    ):
        if hindered:
            return why, cause
    return None


def _worth(gain: float, size_bytes: float, seconds: float) -> float:
    """Gain for its cost."""
    return gain / (size_bytes / BYTES_A_SECOND + seconds)

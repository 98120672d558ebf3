"""What a run of the demo has shown: the frames, and the figures of the summary."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from aiflow.cli.screen import duration
from aiflow.common.messages import Caption
from aiflow.rig.truth import Truth
from aiflow.street.grammar import parse
from aiflow.street.scene import facts_score

MAX_FRAMES: Final = 10_000
"""Frames that are remembered; a demo that runs for days reports on the last of them."""


@dataclass(slots=True)
class ShownFrame:
    """One frame: its number in this run, its first caption, its latest one, and its truth."""

    number: int
    first: Caption
    latest: Caption
    truth: Truth | None

    @property
    def jpeg_bytes(self) -> int | None:
        return None if self.truth is None else self.truth.jpeg_bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run. Latencies are from capture to the frame's first caption."""

    captions: int
    by_tier: dict[str, int]
    updates: int
    latency_p50_s: float
    latency_p95_s: float
    uplink_bytes_mean: float
    jpeg_bytes_mean: float | None
    jpeg_ratio: float | None
    fact_f1: float | None
    fact_f1_by_tier: dict[str, float] | None

    def to_json(self) -> dict[str, object]:
        return asdict(self)

    def __str__(self) -> str:
        tiers = ", ".join(f"{count} {tier}" for tier, count in self.by_tier.items())
        size = f"{self.uplink_bytes_mean:,.0f} B a frame"
        if self.jpeg_ratio is not None:
            size += f", {self.jpeg_ratio:,.0f}x below JPEG"
        parts = [
            f"{self.captions} captions: {tiers}",
            f"p50 {duration(self.latency_p50_s)}, p95 {duration(self.latency_p95_s)}",
            size,
        ]
        if self.fact_f1 is not None:
            parts.append(f"facts right {self.fact_f1:.2f}")
        return " | ".join(parts)


class Tally:
    """Collects captions, new ones and updates, in order of arrival."""

    def __init__(self) -> None:
        self.frames: OrderedDict[str, ShownFrame] = OrderedDict()
        self.events: deque[Caption] = deque(maxlen=2 * MAX_FRAMES)
        self.count = 0
        self.updates = 0
        self._first_sequence = 0

    def add(self, caption: Caption, truth: Truth | None) -> ShownFrame | None:
        """Take one message; the frame that it shows, or None if it says nothing new."""
        if caption.type == "trigger":
            return None
        frame = self.frames.get(caption.id)
        if frame is None or caption.type == "update":
            self.events.append(caption)
        if frame is None:
            self.count += 1
            frame = ShownFrame(self.count, caption, caption, truth)
            self.frames[caption.id] = frame
            if len(self.frames) > MAX_FRAMES:
                _, oldest = self.frames.popitem(last=False)
                self._first_sequence = max(self._first_sequence, oldest.first.sequence + 1)
            return frame
        if caption.type != "update":
            return None
        self.updates += 1
        frame.latest = caption
        return frame

    def missing(self) -> list[int]:
        """Sequence numbers, from 0 up to the latest caption's, for which no caption has come."""
        seen = {frame.first.sequence for frame in self.frames.values()}
        return sorted(set(range(self._first_sequence, max(seen, default=-1))) - seen)

    def summary(self, uplink_bytes: int) -> Summary:
        """The figures; `uplink_bytes` is what the device has sent during the run, all of it."""
        frames = list(self.frames.values())
        latencies = [frame.first.latency_s.total for frame in frames]
        jpeg = [frame.jpeg_bytes for frame in frames if frame.jpeg_bytes is not None]
        uplink_mean = uplink_bytes / max(self.count, 1)
        jpeg_mean = sum(jpeg) / len(jpeg) if jpeg else None
        tiers = Counter(frame.latest.tier for frame in frames)
        known = [frame for frame in frames if frame.truth is not None]
        return Summary(
            captions=self.count,
            by_tier={tier: tiers[tier] for tier in ("device", "edge", "cloud") if tiers[tier]},
            updates=self.updates,
            latency_p50_s=percentile(latencies, 50),
            latency_p95_s=percentile(latencies, 95),
            uplink_bytes_mean=uplink_mean,
            jpeg_bytes_mean=jpeg_mean,
            jpeg_ratio=jpeg_mean / uplink_mean if jpeg_mean and uplink_mean else None,
            fact_f1=fact_f1(known) if known else None,
            fact_f1_by_tier={
                tier: fact_f1(frame for frame in known if frame.latest.tier == tier)
                for tier in sorted({frame.latest.tier for frame in known})
            }
            if known
            else None,
        )


def fact_f1(frames: Iterable[ShownFrame]) -> float:
    """F1 of the facts that the latest captions state, over all facts of all frames."""
    return facts_score(
        (parse(frame.latest.text), frame.truth.facts) for frame in frames if frame.truth is not None
    ).f1


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the values do not exceed; 0.0 of none."""
    if not values:
        return 0.0
    rank = math.ceil(len(values) * percent / 100)
    return sorted(values)[max(rank, 1) - 1]

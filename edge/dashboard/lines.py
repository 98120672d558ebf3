"""The last captions, one line for each frame; what refines a caption replaces its text. Pure.

A trigger that a caption has fired is a mark of its line.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aiflow.common.messages import Caption

MAX_LINES: Final = 500
MAX_DRAFTS: Final = 3
"""Texts that one line remembers of before it was refined."""
MAX_TRIGGERS: Final = 8
"""Marks of one line,"""
MAX_NAMES: Final = 50
"""and names of triggers that are told of all lines together, those that fire most."""
_STAGES: Final = ("queue", "decode", "cloud", "total")


@dataclass(slots=True)
class Line:
    """One frame: its caption as it is now, what it was before, and what is known beside it."""

    number: int
    caption: Caption
    jpeg_bytes: int | None
    """Known of synthetic cameras whose picture is kept."""
    drafts: list[Caption] = field(default_factory=list)
    triggers: list[str] = field(default_factory=list)
    uplink_bytes: int = 0
    """The most that a caption of this frame has said: a refined one may tell of more layers."""

    def to_json(self) -> dict[str, object]:
        caption = self.caption
        return {
            "n": self.number,
            "id": caption.id,
            "device": caption.device,
            "camera": caption.camera,
            "at": caption.timestamp,
            "text": caption.text,
            "confidence": caption.confidence,
            "tier": caption.tier,
            "mode": caption.mode,
            "reason": caption.reason,
            "late": caption.late,
            "uplink": self.uplink_bytes,
            "embedding": caption.bytes.embedding,
            "jpeg": self.jpeg_bytes,
            "picture": self.jpeg_bytes is not None,
            "latency": caption.latency_s.model_dump(exclude_none=True),
            "drafts": [
                {"tier": one.tier, "text": one.text, "confidence": one.confidence}
                for one in self.drafts
            ],
            "triggers": self.triggers,
        }


class Lines:
    """At most `MAX_LINES` lines by id, in the order in which their frames first came."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, Line] = OrderedDict()
        self._changed: dict[str, None] = {}
        self._number = 0

    def get(self, id_: str) -> Line | None:
        return self._lines.get(id_)

    def add(self, caption: Caption, jpeg_bytes: int | None) -> None:
        """A frame that has no line yet."""
        self._number += 1
        line = Line(self._number, caption, jpeg_bytes, uplink_bytes=caption.bytes.uplink)
        self._lines[caption.id] = line
        self._changed[caption.id] = None
        if len(self._lines) > MAX_LINES:
            gone, _ = self._lines.popitem(last=False)
            self._changed.pop(gone, None)

    def refine(self, line: Line, caption: Caption) -> int:
        """Put `caption` into its line; returns the bytes that the frame has cost beyond before."""
        line.drafts = [*line.drafts, line.caption][-MAX_DRAFTS:]
        line.caption = caption
        more = max(0, caption.bytes.uplink - line.uplink_bytes)
        line.uplink_bytes += more
        self._changed[caption.id] = None
        return more

    def fired(self, line: Line, trigger: str) -> None:
        """Mark a line, once."""
        if trigger not in line.triggers and len(line.triggers) < MAX_TRIGGERS:
            line.triggers.append(trigger)
            self._changed[line.caption.id] = None

    def all(self) -> list[dict[str, object]]:
        """Oldest first."""
        return [line.to_json() for line in self._lines.values()]

    def changes(self) -> list[dict[str, object]]:
        """The lines that are new or have changed since the last call, each once."""
        changed, self._changed = self._changed, {}
        return [self._lines[id_].to_json() for id_ in changed]

    def shares(self) -> dict[str, object]:
        """Over all lines: how many by tier, mode, trigger; p50 and p95 of each stage, in ms."""
        captions = [line.caption for line in self._lines.values()]
        live = [caption.latency_s for caption in captions if not caption.late]
        latency = {
            stage: _percentiles([s for s in (getattr(one, stage) for one in live) if s is not None])
            for stage in _STAGES
        }
        return {
            "lines": len(captions),
            "tiers": Counter(caption.tier for caption in captions),
            "modes": Counter(caption.mode for caption in captions),
            "triggers": dict(Counter(self._fired()).most_common(MAX_NAMES)),
            "latency_ms": {stage: both for stage, both in latency.items() if both is not None},
        }

    def _fired(self) -> Iterator[str]:
        return (name for line in self._lines.values() for name in line.triggers)


def _percentiles(seconds: list[float]) -> list[float] | None:
    """[p50, p95] in milliseconds: the smallest values that so many do not exceed."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return [round(1e3 * ordered[-(-len(ordered) * part // 100) - 1], 1) for part in (50, 95)]

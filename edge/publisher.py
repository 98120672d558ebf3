"""Captions to the broker. Touches the `caption` and `event` topics.

Every caption is an `event`; the newest of a camera is also retained under `caption`. What a trigger
looks for is one more `event`, after the caption with which it begins. A frame's custody ends when
the broker has accepted its caption, as `event` and as `caption`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, get_args

from aiflow.common.acks import Acks
from aiflow.common.messages import (
    REASONS,
    Caption,
    CaptionBytes,
    Latency,
    Mode,
    Tier,
    caption_id,
)
from aiflow.common.metrics import Counters, Distribution, Faults
from aiflow.common.mqtt import Outgoing, Publish
from aiflow.common.topics import Topics
from aiflow.edge.custody import Custody
from aiflow.edge.received import EmbeddingFrame, FrameKey, LocalCaption, ReceivedFrame
from aiflow.edge.triggers import Occurrence, Triggers

log = logging.getLogger(__name__)

MAX_REASON: Final = 200
MAX_TEXT: Final = 1000
LATENCY_S: Final = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0, 600.0)


@dataclass(frozen=True, slots=True)
class EdgeSeconds:
    """Seconds that this node measured for one frame."""

    queue: float | None = None
    decode: float | None = None
    cloud: float | None = None


@dataclass(frozen=True, slots=True)
class CaptionContent:
    """A caption, still without the facts of its frame."""

    text: str
    confidence: float
    tier: Tier
    mode: Mode
    reason: str
    stages: EdgeSeconds
    update: bool = False
    """It betters a caption that was published under the same id."""


class Publisher:
    """Publishes captions; any thread may call it."""

    def __init__(
        self,
        publish: Publish,
        topics: Topics,
        custody: Custody,
        newest: Mapping[tuple[str, str], FrameKey],
        counters: Counters,
        triggers: Triggers | None = None,
    ) -> None:
        """`newest` is the newest frame already captioned of each (device, camera)."""
        self._triggers = triggers or Triggers(())
        self._publish = publish
        self._topics = topics
        self._custody = custody
        self._counters = counters
        self._faults = Faults(counters, "aiflow_publish_errors_total", log)
        self.latency: Mapping[Tier, Distribution] = {
            tier: Distribution(LATENCY_S) for tier in get_args(Tier)
        }
        """Of the captions that the broker accepted, seconds."""
        self._lock = threading.Lock()
        self._newest = dict(newest)

    def publish(self, frame: ReceivedFrame, content: CaptionContent) -> bool:
        """Publish one caption; True if it was handed over to the broker.

        A `new` one settles the custody of its frame once accepted, and releases it if it is not:
        then the device sends the frame again. An update that fails is lost; its caption stands.
        """
        caption = self._message(frame, content)
        payload = caption.to_json()
        device, camera, _ = frame.key.stream
        with self._lock:  # else an older caption could overtake between looking and publishing
            newest = self._is_newest(frame.key, content)
            acks = Acks(1 + newest, lambda fault: self._settled(frame, content, fault))
            if newest:
                self._newest[device, camera] = frame.key
                topic = self._topics.caption(device, camera)
                if not self._hand_over(topic, payload, acks, retain=True):
                    return False
            if not self._hand_over(self._topics.event(device, camera), payload, acks):
                return False
            symbols = frame.decoded.symbols if isinstance(frame, EmbeddingFrame) else None
            for occurrence in self._triggers.take(caption, symbols, newest=newest):
                self._fire(occurrence, caption)
            return True

    def pass_on(self, frame: LocalCaption) -> bool:
        """Publish what the device has captioned by itself."""
        content = CaptionContent(
            text=frame.local.text,
            confidence=frame.local.confidence,
            tier="device",
            mode="device",
            reason=f"captioned on the device: {REASONS[frame.local.why]}",
            stages=EdgeSeconds(),
        )
        return self.publish(frame, content)

    def _fire(self, occurrence: Occurrence, caption: Caption) -> None:
        """Say that something begins. It counts once the broker has accepted it."""
        name, device, camera = occurrence

        def settled(fault: str | None) -> None:
            if fault is None:
                self._counters.add("aiflow_triggers_total", trigger=name)
            else:
                self._faults.record(fault, f"no event of trigger {name} for {device}/{camera}")
                self._triggers.lost(occurrence)

        event = caption.model_copy(update={"type": "trigger", "trigger": name})
        self._hand_over(self._topics.event(device, camera), event.to_json(), Acks(1, settled))

    def _is_newest(self, key: FrameKey, content: CaptionContent) -> bool:
        """Whether this caption replaces the retained one. The lock is held.

        Within a session sequences decide. Between sessions their clocks cannot (a Raspberry Pi
        may wake up in the past): a new caption of another session is of the present one.
        """
        known = self._newest.get(key.stream[:2])
        if known is None:
            return True
        if known.stream != key.stream:
            return not content.update
        return key.sequence >= known.sequence

    def _hand_over(self, topic: str, payload: bytes, acks: Acks, *, retain: bool = False) -> bool:
        accepted = self._publish(
            Outgoing(topic, payload, qos=1, retain=retain, on_accepted=acks.acknowledged)
        )
        if not accepted:
            acks.failed("unsent")
        return accepted

    def _settled(self, frame: ReceivedFrame, content: CaptionContent, fault: str | None) -> None:
        """All that was published of one caption is accepted, or the first of it is not."""
        if fault is not None:
            name = f"{frame.key.stream.device}/{frame.key.stream.camera}"
            self._faults.record(fault, f"no caption for frame {frame.key.sequence} of {name}")
            if not content.update:
                self._custody.release(frame.key)
            return
        kind = "update" if content.update else "new"
        self._counters.add("aiflow_captions_total", tier=content.tier, type=kind)
        self.latency[content.tier].add(time.time() - frame.captured_s)
        if not content.update:
            self._custody.captioned(frame.key)

    def _message(self, frame: ReceivedFrame, content: CaptionContent) -> Caption:
        device, camera, epoch_ms = frame.key.stream
        stages = content.stages
        return Caption(
            id=caption_id(device, camera, epoch_ms, frame.key.sequence),
            device=device,
            camera=camera,
            timestamp=frame.captured_s,
            type="update" if content.update else "new",
            text=content.text[:MAX_TEXT],
            confidence=round(content.confidence, 4),
            tier=content.tier,
            mode=content.mode,
            bytes=CaptionBytes(
                embedding=len(frame.payload),
                uplink=frame.uplink_bytes,
            ),
            latency_s=Latency(
                queue=_rounded(stages.queue),
                decode=_rounded(stages.decode),
                cloud=_rounded(stages.cloud),
                total=round(time.time() - frame.captured_s, 6),
            ),
            bundle=frame.coding.bundle_id,
            late=frame.late,
            sequence=frame.key.sequence,
            reason=content.reason[:MAX_REASON],
        )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(seconds, 0.0), 6)

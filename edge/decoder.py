"""From frames to published captions, a batch at a time, and the decision about each.

    batch -> pictures become symbols -> draft captions -> policy -> publish
                                                            `-> ask the device, or the cloud

Runs on the decode thread. What it publishes and asks goes through the parts it is given.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiflow.common.captioner import Draft, Request, WritesCaptions
from aiflow.common.errors import PayloadError
from aiflow.common.metrics import Counters, Faults
from aiflow.edge.ask_cloud import Escalations
from aiflow.edge.ask_device import DeviceRequests
from aiflow.edge.custody import Custody
from aiflow.edge.image_encoder import ImageEncoder
from aiflow.edge.policy import Action, Decision, Judgement, decide
from aiflow.edge.publisher import CaptionContent, EdgeSeconds, Publisher
from aiflow.edge.received import EmbeddingFrame, PictureFrame

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EdgeModel:
    """What captions are made with, and when one is good enough."""

    captions: WritesCaptions
    image_encoder: ImageEncoder
    judgements: Mapping[str, Judgement]
    """By the id of the bundle."""


class Decoder:
    """Captions batches with the edge's decoder."""

    def __init__(
        self,
        model: EdgeModel,
        publisher: Publisher,
        escalations: Escalations,
        requests: DeviceRequests,
        custody: Custody,
        counters: Counters,
    ) -> None:
        self._captions = model.captions
        self._image_encoder = model.image_encoder
        self._judgements = model.judgements
        self._publisher = publisher
        self._escalations = escalations
        self._requests = requests
        self._custody = custody
        self._counters = counters
        self._faults = Faults(counters, "aiflow_payload_errors_total", log)
        self.busy_s = 0.0
        """Time spent decoding since the start, seconds."""

    def caption(self, batch: Sequence[EmbeddingFrame | PictureFrame]) -> None:
        """Caption all frames of a batch and publish what comes of it.

        Whatever the captioner raises passes through; nothing is published then.
        """
        frames = [frame for one in batch if (frame := self._embedded(one)) is not None]
        began = time.monotonic()
        drafts = self._captions.caption(
            [Request(frame.decoded.symbols, bundle=frame.coding.bundle_id) for frame in frames]
        )
        decode_s = time.monotonic() - began
        self._counters.add("aiflow_batches_total")
        self._counters.add("aiflow_decoded_total", len(frames))
        self.busy_s += decode_s
        for frame, draft in zip(frames, drafts, strict=True):
            stages = EdgeSeconds(queue=began - frame.received_at, decode=decode_s)
            self._publish(frame, draft, stages)
            self._custody.delay_s.add(time.monotonic() - frame.received_at)

    def _embedded(self, frame: EmbeddingFrame | PictureFrame) -> EmbeddingFrame | None:
        """A picture as the embedding that it stands for; None if it is none."""
        if isinstance(frame, EmbeddingFrame):
            return frame
        try:
            return self._image_encoder.encode(frame)
        except PayloadError as error:
            # Genuine, but nonsense: it would be no better the next time.
            device, camera, _ = frame.key.stream
            self._faults.record(error.reason, f"{device}/{camera}: {error}")
            self._custody.captioned(frame.key)
            return None

    def _decide(self, frame: EmbeddingFrame, confidence: float) -> Decision:
        judgement = self._judgements[frame.coding.bundle_id]
        return decide(
            confidence,
            len(frame.payloads),
            judgement.limits,
            self._escalations.state(),
            device=self._requests.state(frame),
            repairs=judgement.repairs,
            cloud_allowed=frame.cloud,
        )

    def _publish(self, frame: EmbeddingFrame, draft: Draft, stages: EdgeSeconds) -> None:
        if frame.refined:
            self._requests.came(frame)
        decision = self._decide(frame, draft.confidence)
        self._counters.add("aiflow_decisions_total", cause=decision.cause)
        escalate = decision.action is Action.ESCALATE
        content = CaptionContent(
            text=draft.text,
            confidence=draft.confidence,
            tier="edge",
            mode="image" if frame.pictured else "cascade" if escalate else "split",
            reason=decision.reason,
            stages=stages,
            update=frame.refined,
        )
        if not self._publisher.publish(frame, content):
            return
        if escalate:
            self._escalations.ask(frame, draft.tokens, stages)
        elif decision.action is Action.REFINE:
            self._requests.ask(frame)

"""From symbols to published captions, a batch at a time, and the decision about each.

    batch -> draft captions -> policy -> publish, and ask the cloud where it is worth it

Runs on the decoding thread. What it publishes and asks goes through the leaves it is given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from aiflow.common.captioner import Draft, Request, WritesCaptions
from aiflow.common.mean import Mean
from aiflow.common.messages import REASONS, CloudReply
from aiflow.common.metrics import Counters
from aiflow.edge.ask_cloud import Escalations, Question
from aiflow.edge.ask_device import DeviceQuestions
from aiflow.edge.policy import Action, Decision, Judgement, decide
from aiflow.edge.publisher import Answer, EdgeSeconds, Publisher
from aiflow.edge.received import EmbeddingFrame, LocalCaption


class Decoder:
    """Captions batches with the edge's decoder."""

    def __init__(
        self,
        captions: WritesCaptions,
        judgement: Judgement,
        publisher: Publisher,
        escalations: Escalations,
        refinements: DeviceQuestions,
        counters: Counters,
    ) -> None:
        self._captions = captions
        self._judgement = judgement
        self._refinements = refinements
        self._publisher = publisher
        self._escalations = escalations
        self._counters = counters
        self.busy_s = 0.0
        """Time spent decoding since the start, seconds."""
        self._delay_s = Mean()

    def caption(self, batch: Sequence[EmbeddingFrame]) -> None:
        """Caption all frames of a batch and publish what comes of it.

        Whatever the captioner raises passes through; nothing is published then.
        """
        began = time.monotonic()
        drafts = self._captions.caption([Request(frame.decoded.symbols) for frame in batch])
        decode_s = time.monotonic() - began
        self._counters.add("aiflow_batches_total")
        self._counters.add("aiflow_decoded_total", len(batch))
        self.busy_s += decode_s
        for frame, draft in zip(batch, drafts, strict=True):
            stages = EdgeSeconds(queue=began - frame.received_at, decode=decode_s)
            self._answer(frame, draft, stages)
            self._delay_s.add(time.monotonic() - frame.received_at)

    @property
    def delay_s(self) -> float:
        """From a frame's arrival to its caption at present, seconds; 0 before the first."""
        return self._delay_s.known()

    def _decide(self, frame: EmbeddingFrame, confidence: float) -> Decision:
        return decide(
            confidence,
            len(frame.payloads),
            self._judgement.limits,
            self._escalations.state(),
            device=self._refinements.state(frame),
            repairs=self._judgement.repairs,
            cloud_allowed=frame.cloud,
        )

    def _answer(self, frame: EmbeddingFrame, draft: Draft, stages: EdgeSeconds) -> None:
        if frame.refined:
            self._refinements.came(frame)
        decision = self._decide(frame, draft.confidence)
        self._counters.add("aiflow_decisions_total", cause=decision.cause)
        escalate = decision.action is Action.ESCALATE
        answer = Answer(
            text=draft.text,
            confidence=draft.confidence,
            tier="edge",
            mode="image" if frame.pictured else "cascade" if escalate else "split",
            reason=decision.reason,
            stages=stages,
            update=frame.refined,
        )
        if not self._publisher.publish(frame, answer):
            return
        if escalate:
            self._escalations.ask(frame, draft.tokens, stages)
        elif decision.action is Action.REFINE:
            self._refinements.ask(frame)


def local_answer(frame: LocalCaption) -> Answer:
    """The device has answered by itself; the node only passes it on."""
    return Answer(
        text=frame.local.text,
        confidence=frame.local.confidence,
        tier="device",
        mode="device",
        reason=f"captioned on the device: {REASONS[frame.local.why]}",
        stages=EdgeSeconds(),
    )


def cloud_answer(question: Question, reply: CloudReply) -> Answer:
    """The cloud's caption, as the update of the one that is out."""
    return Answer(
        text=reply.text,
        confidence=reply.confidence,
        tier="cloud",
        mode="cascade",
        reason=f"the cloud kept {reply.accepted} of {reply.drafted} drafted tokens",
        stages=EdgeSeconds(question.stages.queue, question.stages.decode, question.cloud_s),
        update=True,
    )

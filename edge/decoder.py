"""From symbols to published captions, a batch at a time, and the decision about each.

    batch -> draft captions -> policy -> publish, and ask the cloud where it is worth it
               `- doubt on the way -> ask it at once, where that is quicker

Runs on the decoding thread. What it publishes and asks goes through the leaves it is given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from aiflow.common.captioner import Captions, Draft, Partial, Request
from aiflow.common.mean import Mean
from aiflow.common.messages import REASONS, CloudReply
from aiflow.common.metrics import Counters
from aiflow.edge.arrival import Embedding, LocalCaption
from aiflow.edge.doubt import Doubt
from aiflow.edge.escalation import Escalations
from aiflow.edge.policy import Action, Decision, Judgement, asked_already, decide
from aiflow.edge.publisher import Answer, Publisher, Stages
from aiflow.edge.question import Question
from aiflow.edge.refinements import Refinements


class Decoder:
    """Captions batches with the edge's decoder."""

    def __init__(
        self,
        captions: Captions,
        judgement: Judgement,
        publisher: Publisher,
        escalations: Escalations,
        refinements: Refinements,
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

    def caption(self, batch: Sequence[Embedding]) -> None:
        """Caption all frames of a batch and publish what comes of it.

        Whatever the captioner raises passes through; nothing is published then.
        """
        began = time.monotonic()
        limit = self._judgement.limits.threshold
        doubts = [Doubt(limit, partial(self._ask_early, frame)) for frame in batch]
        requests = [
            Request(frame.decoded.symbols, told=doubt.told)
            for frame, doubt in zip(batch, doubts, strict=True)
        ]
        try:
            drafts = self._captions.caption(requests)
        except Exception:
            self._drop(doubts)
            raise
        decode_s = time.monotonic() - began
        self._counters.add("aiflow_batches_total")
        self._counters.add("aiflow_decoded_total", len(batch))
        self.busy_s += decode_s
        for frame, draft, doubt in zip(batch, drafts, doubts, strict=True):
            stages = Stages(queue=began - frame.received_at, decode=decode_s)
            self._answer(frame, draft, stages, doubt)
            self._delay_s.add(time.monotonic() - frame.received_at)

    @property
    def delay_s(self) -> float:
        """From a frame's arrival to its caption at present, seconds; 0 before the first."""
        return self._delay_s.known()

    def _ask_early(self, frame: Embedding, so_far: Partial) -> Question | None:
        """Ask the cloud about a caption that is still being made, if that is the thing to do."""
        if self._decide(frame, so_far.confidence).action is not Action.ESCALATE:
            return None
        if not self._escalations.pace.streams():
            return None
        return self._escalations.begin(frame, so_far.tokens)

    def _drop(self, doubts: Sequence[Doubt]) -> None:
        for doubt in doubts:
            if doubt.question is not None:
                self._escalations.drop(doubt.question)

    def _decide(self, frame: Embedding, confidence: float) -> Decision:
        return decide(
            confidence,
            len(frame.payloads),
            self._judgement.limits,
            self._escalations.state(),
            device=self._refinements.state(frame),
            repairs=self._judgement.repairs,
            cloud_allowed=frame.cloud,
        )

    def _answer(self, frame: Embedding, draft: Draft, stages: Stages, doubt: Doubt) -> None:
        if frame.refined:
            self._refinements.came(frame)
        if doubt.question is None:
            decision = self._decide(frame, draft.confidence)
        else:
            decision = asked_already(draft.confidence, self._judgement.limits)
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
            self._drop([doubt])
        elif doubt.question is not None:
            self._escalations.finish(doubt.question, draft.tokens, stages)
        elif escalate:
            self._escalations.ask(frame, draft.tokens, stages, doubt.since)
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
        stages=Stages(),
    )


def cloud_answer(question: Question, reply: CloudReply) -> Answer:
    """The cloud's caption, as the update of the one that is out."""
    return Answer(
        text=reply.text,
        confidence=reply.confidence,
        tier="cloud",
        mode="cascade",
        reason=f"the cloud kept {reply.accepted} of {reply.drafted} drafted tokens",
        stages=Stages(question.stages.queue, question.stages.decode, question.cloud_s),
        update=True,
    )

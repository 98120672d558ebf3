"""Asking the cloud: one question for each caption that it shall better.

    ask ─> pending ─ reply ──────────────────────────────────────> answered: the caption's update
           │ ↑ └───── the worker fails, or the lease ends
           │ └── asked again, once ────┴─ or, the second time ───> given up
           └───────── nobody listens, refused, broker away ──────> given up

Given up, a caption stays the edge's, and the cloud rests: it is left alone for a while. A worker
that takes a request and dies is noticed by nobody but the asker: hence the lease. Nothing here can
delay or lose the edge's own caption, which is out before the cloud is asked.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from aiflow.common.errors import PayloadError
from aiflow.common.mean import Mean
from aiflow.common.messages import CloudReply
from aiflow.common.metrics import Counters, Faults
from aiflow.common.mqtt import Outgoing, Publish, Reason
from aiflow.common.symbols import key_payload
from aiflow.common.wire import MAX_DRAFT_TOKENS, Escalation, Kind, kind_of, pack_escalation
from aiflow.edge.policy import CloudState
from aiflow.edge.publisher import CaptionContent, EdgeSeconds
from aiflow.edge.received import EmbeddingFrame
from aiflow.edge.timers import Timers

log = logging.getLogger(__name__)

ATTEMPTS: Final = 2
REST_S: Final = (1.0, 30.0)
"""How long the cloud is left alone after it did not answer, doubling with each time in a row."""
ABSENT_REST_S: Final = 2.0
"""And after the broker said that nobody listens: finding out costs one message, so ask soon."""
CORRELATION_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Pool:
    """Which cloud workers to ask, and how long an answer may take."""

    request_topic: str
    reply_topic: str
    lease_s: float


@dataclass(slots=True, eq=False)
class Question:
    """One request on its way."""

    frame: EmbeddingFrame
    stages: EdgeSeconds
    """Of the edge's own caption."""
    request: bytes
    asked_at: float
    correlation: bytes = field(default_factory=lambda: secrets.token_bytes(CORRELATION_BYTES))
    attempt: int = 1


class Escalations:
    """The questions that are pending, and how the cloud has been doing. Any thread may call it.

    Bounded by the policy: it is asked with `state()` before each `ask`.
    """

    def __init__(
        self,
        publish: Publish,
        pool: Pool,
        timers: Timers,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish = publish
        self._pool = pool
        self._timers = timers
        self._counters = counters
        self._faults = Faults(counters, "aiflow_escalation_faults_total", log)
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows
        self._pending: dict[bytes, Question] = {}
        self._asked: deque[float] = deque()
        self._failures = 0
        self._rest_until = float("-inf")
        self._bytes, self._seconds = Mean(CloudState().bytes), Mean(CloudState().seconds)

    def state(self) -> CloudState:
        """What the policy should know at this moment."""
        now = self._clock()
        with self._lock:
            while self._asked and self._asked[0] <= now - 60.0:
                self._asked.popleft()
            return CloudState(
                len(self._pending),
                len(self._asked),
                max(0.0, self._rest_until - now),
                self._bytes.known(),
                self._seconds.known(),
            )

    def ask(self, frame: EmbeddingFrame, draft: tuple[int, ...], stages: EdgeSeconds) -> None:
        """Send the payloads that the device keeps of a frame, and the draft, to the pool."""
        request = self._request(frame, draft)
        question = Question(frame, stages, request, self._clock())
        with self._lock:
            self._asked.append(question.asked_at)
            self._pending[question.correlation] = question
            self._bytes.add(len(request))
        self._counters.add("aiflow_escalations_total", reason="confidence")
        self._send(question)

    def reply(
        self, payload: bytes, correlation: bytes | None
    ) -> tuple[EmbeddingFrame, CaptionContent] | None:
        """Take what came under the reply topic; the frame's better caption if it answers."""
        try:
            answer = CloudReply.from_json(payload)
        except PayloadError as error:
            # Not even whose answer it is can be trusted: the lease will end.
            self._faults.record(error.reason, f"reply from the cloud: {error}")
            return None
        with self._lock:
            question = self._pending.get(correlation or b"")
        if question is None:
            self._counters.add("aiflow_escalation_replies_total", outcome="late")
        elif answer.error is not None:
            self._faults.record("worker", f"{answer.worker} could not answer: {answer.error}")
            self._failed(question, question.attempt, "error")
        elif self._leaves(question):
            cloud_s = self._clock() - question.asked_at
            with self._lock:
                self._failures, self._rest_until = 0, float("-inf")
                self._seconds.add(cloud_s)
            self._counters.add("aiflow_escalation_replies_total", outcome="answered")
            return question.frame, _update(question, answer, cloud_s)
        return None

    def _request(self, frame: EmbeddingFrame, draft: tuple[int, ...]) -> bytes:
        stream = frame.key.stream
        return pack_escalation(
            Escalation(
                device=stream.device,
                camera=stream.camera,
                epoch_ms=stream.epoch_ms,
                deadline_ms=round(self._pool.lease_s * 1000),
                payloads=_standing_alone(frame),
                draft=draft[:MAX_DRAFT_TOKENS],
                trailer=frame.context.trailer_bytes,
            )
        )

    def _send(self, question: Question) -> None:
        lease_s = self._pool.lease_s
        ended = partial(self._failed, question, question.attempt, "lease_ended")
        self._timers.after(lease_s, ended)
        sent = self._publish(
            Outgoing(
                self._pool.request_topic,
                question.request,
                qos=1,
                expiry_s=math.ceil(lease_s),
                response_topic=self._pool.reply_topic,
                correlation=question.correlation,
                on_accepted=partial(self._acknowledged, question),
            )
        )
        if not sent:
            self._give_up(question, "unsent", "the broker is away or its queue is full")

    def _acknowledged(self, question: Question, reason: Reason | None) -> None:
        """The broker's word on a request. Without one the connection ended: the lease decides."""
        if reason is None:
            return
        if reason.unheard:
            self._give_up(question, "no_worker", "no cloud worker is connected")
        elif reason.refused:
            self._give_up(question, "refused", f"the broker refused the request: {reason}")

    def _failed(self, question: Question, attempt: int, outcome: str) -> None:
        """Ask once more under the same correlation: whichever answer comes first counts."""
        with self._lock:
            if question.correlation not in self._pending or question.attempt != attempt:
                return  # it has left, or was asked again meanwhile
            question.attempt += 1
        self._counters.add("aiflow_escalation_replies_total", outcome=outcome)
        if attempt < ATTEMPTS:
            self._counters.add("aiflow_escalations_repeated_total")
            self._send(question)
        else:
            self._give_up(question, "unanswered", f"no answer after {ATTEMPTS} requests")

    def _give_up(self, question: Question, reason: str, why: str) -> None:
        if not self._leaves(question):
            return
        now = self._clock()
        with self._lock:
            # Questions that fail together are one failure of the cloud.
            if now >= self._rest_until:
                self._rest_until = now + self._rest_s(reason)
            rest_s = self._rest_until - now
        self._faults.record(reason, f"{why}; captions stay the edge's, next try in {rest_s:.0f} s")

    def _rest_s(self, reason: str) -> float:
        if reason in {"no_worker", "unsent"}:
            return ABSENT_REST_S
        self._failures += 1
        return min(REST_S[1], REST_S[0] * 2.0 ** min(self._failures - 1, 16))

    def _leaves(self, question: Question) -> bool:
        """Take a question out; False if it has left already."""
        with self._lock:
            return self._pending.pop(question.correlation, None) is not None


def _update(question: Question, reply: CloudReply, cloud_s: float) -> CaptionContent:
    """The cloud's caption, as the update of the one that is out."""
    return CaptionContent(
        text=reply.text,
        confidence=reply.confidence,
        tier="cloud",
        mode="cascade",
        reason=f"the cloud kept {reply.accepted} of {reply.drafted} drafted tokens",
        stages=EdgeSeconds(question.stages.queue, question.stages.decode, cloud_s),
        update=True,
    )


def _standing_alone(frame: EmbeddingFrame) -> tuple[bytes, ...]:
    """Payloads that yield a frame without any other: those that its device keeps of it.

    They are the original ones; only in the place of a delta is the key payload of the frame.
    """
    first, *refinements = frame.payloads
    if kind_of(first) == Kind.DELTA:
        first = key_payload(frame.header, frame.decoded.own, frame.coding.tables, frame.context)
    return (first, *refinements)

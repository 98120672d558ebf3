"""Escalations in, replies out: verifies drafts and finishes captions. Knows no MQTT, opens nothing.

    request -> escalation -> packets -> symbols -> one batch with drafts -> replies

A request that cannot be answered gets a reply with an error, so that the edge need not wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from aiflow.common.bundle import BundleCoding
from aiflow.common.captioner import Draft, Request, WritesCaptions
from aiflow.common.errors import AiflowError, PayloadError
from aiflow.common.messages import CloudReply, CloudSeconds
from aiflow.common.metrics import Counters, Faults
from aiflow.common.symbols import Decoded, Symbols, decode
from aiflow.common.wire import Escalation, require_bundle, unpack_escalation

log = logging.getLogger(__name__)

MAX_ERROR: Final = 500
MAX_TEXT: Final = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """One request as it came."""

    payload: bytes
    received_at: float
    """By the monotonic clock, seconds; the deadline counts from here."""
    reply_topic: str
    correlation: bytes | None


class Worker:
    """Answers batches of requests with the cloud's decoder."""

    def __init__(
        self,
        captions: WritesCaptions,
        codings: Sequence[BundleCoding],
        name: str,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._captions = captions
        self._codings = {coding.tag: coding for coding in codings}
        self._any = codings[0]
        self._name = name
        self._counters = counters
        self._faults = Faults(counters, "aiflow_request_errors_total", log)
        self._clock = clock
        self.busy_s = 0.0
        """Time spent decoding since the start, seconds."""

    def answer(self, jobs: Sequence[Job]) -> list[CloudReply]:
        """One reply per job, in their order.

        Drafts change how many passes are needed, never the caption: it is the decoder's own greedy
        one. A captioner that fails is an error in each reply of the batch.
        """
        began = self._clock()
        replies: dict[int, CloudReply] = {}
        requests: dict[int, Request] = {}
        for index, job in enumerate(jobs):
            waited_s = began - job.received_at
            try:
                escalation = unpack_escalation(job.payload)
                late_s = waited_s - escalation.deadline_ms / 1000
                if late_s >= 0:
                    words = f"the deadline passed {late_s:.1f} s ago"
                    replies[index] = self.refusal("expired", words, waited_s)
                else:
                    symbols, bundle = self._symbols(escalation)
                    requests[index] = Request(symbols, escalation.draft, bundle)
            except PayloadError as error:
                replies[index] = self.refusal(error.reason, str(error), waited_s)
        replies |= self._finish(jobs, requests, began)
        return [replies[index] for index in range(len(jobs))]

    def refusal(self, reason: str, words: str, waited_s: float) -> CloudReply:
        """Count a request that gets no caption, and make the reply that says why."""
        self._faults.record(reason, f"request not answered: {words}")
        return CloudReply(
            seconds=CloudSeconds(queue=max(0.0, waited_s), compute=0.0),
            worker=self._name,
            error=f"{reason}: {words}"[:MAX_ERROR],
        )

    def _symbols(self, escalation: Escalation) -> tuple[Symbols, str]:
        """The frame's symbols, from its payloads one after the other, and the id of its bundle."""
        known: dict[int, Decoded] = {}
        first, *_ = packets = escalation.packets()
        coding = self._codings.get(first.bundle_tag, self._any)
        for packet in packets:
            require_bundle(packet, coding.tag)
            known[packet.sequence] = decode(packet, coding.tables, known)
        return known[packet.sequence].symbols, coding.bundle_id

    def _finish(
        self, jobs: Sequence[Job], requests: dict[int, Request], began: float
    ) -> dict[int, CloudReply]:
        """Caption the requests; keys are indices into `jobs`."""
        if not requests:
            return {}
        waited_s = {index: began - jobs[index].received_at for index in requests}
        try:
            drafts = self._captions.caption(list(requests.values()))
        except AiflowError as error:
            words = str(error)
            return {index: self.refusal("decoder", words, waited_s[index]) for index in requests}
        compute_s = self._clock() - began
        self._counters.add("aiflow_batches_total")
        self.busy_s += compute_s
        return {
            index: self._reply(requests[index], draft, waited_s[index], compute_s)
            for index, draft in zip(requests, drafts, strict=True)
        }

    def _reply(
        self, request: Request, draft: Draft, waited_s: float, compute_s: float
    ) -> CloudReply:
        drafted = len(request.draft)
        self._counters.add("aiflow_answered_total")
        self._counters.add("aiflow_drafted_tokens_total", drafted)
        self._counters.add("aiflow_accepted_tokens_total", draft.accepted)
        self._counters.add("aiflow_passes_total", draft.passes)
        return CloudReply(
            tokens=draft.tokens,
            text=draft.text[:MAX_TEXT],
            confidence=round(draft.confidence, 4),
            accepted=draft.accepted,
            drafted=drafted,
            passes=draft.passes,
            seconds=CloudSeconds(queue=max(0.0, waited_s), compute=compute_s),
            worker=self._name,
        )

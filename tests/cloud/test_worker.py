from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.cloud.worker import Job, Worker
from aiflow.common.bundle import BundleCoding
from aiflow.common.codec import Tables
from aiflow.common.errors import BundleInvalid
from aiflow.common.messages import CloudReply
from aiflow.common.metrics import Counters

if TYPE_CHECKING:
    from tests.cloud.conftest import FakeCaptions, FakeEdge

NOW = 1000.0


class Desk:
    def __init__(self, captions: FakeCaptions, tables: Tables) -> None:
        self.captions = captions
        self.counters = Counters()
        self.worker = Worker(
            captions,
            [BundleCoding("ab" * 32, b"\xab\xab", tables)],
            "w1",
            self.counters,
            lambda: NOW,
        )

    def answer(self, *requests: bytes, waited_s: float = 0.0) -> list[CloudReply]:
        jobs = [Job(request, NOW - waited_s, "aiflow/edge/e/reply", b"c") for request in requests]
        return self.worker.answer(jobs)

    def errors(self, reason: str) -> int:
        return self.counters.value("aiflow_request_errors_total", reason=reason)


@pytest.fixture
def desk(captions: FakeCaptions, tables: Tables) -> Desk:
    return Desk(captions, tables)


def test_a_request_is_answered(desk: Desk, edge: FakeEdge) -> None:
    total = int(edge.symbols(3)[:4].sum())
    (reply,) = desk.answer(edge.request(edge.key_frame(3), draft=(total, 99)), waited_s=0.25)
    assert reply.error is None
    assert reply.text == f"a sum of {total}"
    assert reply.tokens == (total, total + 1, 2)
    assert reply.confidence == 0.97
    assert (reply.accepted, reply.drafted, reply.passes) == (1, 2, 3)
    assert reply.seconds.queue == pytest.approx(0.25)
    assert reply.worker == "w1"


def test_a_draft_changes_the_passes_and_never_the_caption(desk: Desk, edge: FakeEdge) -> None:
    total = int(edge.symbols(3)[:4].sum())
    drafts: tuple[tuple[int, ...], ...] = ((), (99, 98), (total, total + 1, 2))
    replies = desk.answer(*(edge.request(edge.key_frame(3), draft=draft) for draft in drafts))
    assert len({(reply.tokens, reply.text, reply.confidence) for reply in replies}) == 1
    assert [reply.passes for reply in replies] == [4, 4, 1]
    assert desk.counters.value("aiflow_drafted_tokens_total") == 5
    assert desk.counters.value("aiflow_accepted_tokens_total") == 3


def test_requests_are_answered_as_one_batch(desk: Desk, edge: FakeEdge) -> None:
    replies = desk.answer(*(edge.request(edge.key_frame(sequence)) for sequence in range(5)))
    assert [len(batch) for batch in desk.captions.batches] == [5]
    sums = [int(edge.symbols(sequence)[:4].sum()) for sequence in range(5)]
    assert [reply.text for reply in replies] == [f"a sum of {total}" for total in sums]


def test_refinements_are_added_to_their_frame(desk: Desk, edge: FakeEdge) -> None:
    desk.answer(edge.request(edge.key_frame(3), edge.refinement(3)))
    np.testing.assert_array_equal(desk.captions.batches[0][0].symbols, edge.symbols(3))


def test_what_does_not_stand_alone_is_refused(
    desk: Desk, edge: FakeEdge, signed_edge: FakeEdge
) -> None:
    replies = desk.answer(
        edge.request(edge.key_frame(1), edge.delta(2, 1)),
        edge.request(edge.refinement(3)),
        edge.request(edge.key_frame(2), edge.refinement(3)),
        signed_edge.request(signed_edge.delta(2, 1)),
    )
    assert [(reply.error or "").split(":")[0] for reply in replies] == ["reference"] * 4


def test_signed_payloads_need_no_key_here(desk: Desk, signed_edge: FakeEdge) -> None:
    (reply,) = desk.answer(signed_edge.request(signed_edge.key_frame(1)))
    assert reply.error is None


def test_an_expired_request_is_skipped(desk: Desk, edge: FakeEdge) -> None:
    request = edge.request(edge.key_frame(1), deadline_ms=500)
    (reply,) = desk.answer(request, waited_s=0.6)
    assert reply.error == "expired: the deadline passed 0.1 s ago"
    assert desk.captions.batches == []
    assert desk.errors("expired") == 1


def test_bad_requests_get_an_error_and_the_others_their_caption(desk: Desk, edge: FakeEdge) -> None:
    good = edge.request(edge.key_frame(1))
    cut, flipped = good[:-6], bytearray(good)
    flipped[-4] ^= 1
    replies = desk.answer(
        b"",
        b"\x26" + good[1:],
        good,
        cut,
        bytes(flipped),
        edge.request(edge.delta(2, 1)),
        edge.request(edge.key_frame(1, tag=b"\xcd\xcd")),
        b"\x16" + b"\xff" * 40_000,
    )
    reasons = [reply.error.split(":")[0] if reply.error else "" for reply in replies]
    assert reasons == [
        "truncated",
        "version",
        "",
        "truncated",
        "checksum",
        "reference",
        "bundle",
        "malformed",
    ]
    assert desk.errors("truncated") == 2
    assert [len(batch) for batch in desk.captions.batches] == [1]


def test_a_decoder_that_fails_is_an_error_for_its_batch(desk: Desk, edge: FakeEdge) -> None:
    desk.captions.fault = BundleInvalid("the decoder is broken")
    replies = desk.answer(edge.request(edge.key_frame(1)), b"", edge.request(edge.key_frame(2)))
    assert [reply.error for reply in replies] == [
        "decoder: the decoder is broken",
        replies[1].error,
        "decoder: the decoder is broken",
    ]
    assert desk.errors("decoder") == 2


def test_whatever_comes_gets_one_reply(desk: Desk, edge: FakeEdge) -> None:
    rng = random.Random(11)
    good = edge.request(edge.key_frame(1), edge.refinement(1), draft=(1, 2, 3))
    requests = []
    for _ in range(1000):
        changed = bytearray(good)
        for _ in range(rng.randrange(3)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        requests.append(bytes(changed[: rng.choice([len(changed), rng.randrange(len(changed))])]))
    replies = desk.answer(*requests)
    assert len(replies) == 1000
    assert 0 < sum(reply.error is None for reply in replies) < 1000


def test_no_jobs_no_replies(desk: Desk) -> None:
    assert desk.answer() == []

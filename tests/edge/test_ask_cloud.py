from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from tests.edge.conftest import cloud_reply, due

from aiflow.common.metrics import Counters
from aiflow.common.wire import unpack_escalation
from aiflow.edge.ask_cloud import ABSENT_REST_S, Escalations, Pool
from aiflow.edge.publisher import CaptionContent, EdgeSeconds
from aiflow.edge.received import EmbeddingFrame
from aiflow.edge.timers import Timers

if TYPE_CHECKING:
    from tests.edge.conftest import Clock, FakeCamera, Published, Sent

LEASE_S = 2.0


class Desk:
    """Escalations with their surroundings."""

    def __init__(self, clock: Clock, published: Published) -> None:
        self.clock = clock
        self.published = published
        self.counters = Counters()
        self.timers = Timers(self.counters, clock)
        self.answers: list[tuple[EmbeddingFrame, CaptionContent]] = []
        self.escalations = Escalations(
            published,
            Pool(
                "aiflow/cloud/default/request",
                "aiflow/edge/edge1/reply",
                LEASE_S,
            ),
            self.timers,
            self.counters,
            clock,
        )

    def ask(self, camera: FakeCamera, sequence: int = 1) -> None:
        self.escalations.ask(camera.embedding(sequence), (7, 8, 2), EdgeSeconds(0.001, 0.02))

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for action in due(self.timers):
            action()

    def reply(self, request: Sent, error: str | None = None) -> None:
        update = self.escalations.reply(cloud_reply(error), request.correlation)
        if update is not None:
            self.answers.append(update)

    def outcomes(self, outcome: str) -> int:
        return self.counters.value("aiflow_escalation_replies_total", outcome=outcome)

    def faults(self, reason: str) -> int:
        return self.counters.value("aiflow_escalation_faults_total", reason=reason)


@pytest.fixture
def desk(clock: Clock, published: Published) -> Desk:
    return Desk(clock, published)


def test_a_question_carries_the_original_payload_and_the_draft(
    desk: Desk, camera: FakeCamera
) -> None:
    desk.ask(camera)
    (request,) = desk.published.sent
    assert request.topic == "aiflow/cloud/default/request"
    assert request.response_topic == "aiflow/edge/edge1/reply"
    assert (request.qos, request.retain, request.expiry_s) == (1, False, 2)
    escalation = unpack_escalation(request.payload)
    assert (escalation.device, escalation.camera) == ("pi", "door")
    assert escalation.epoch_ms == camera.context.epoch_ms
    assert escalation.payloads == (camera.key_frame(1),)
    assert escalation.draft == (7, 8, 2)
    assert escalation.deadline_ms == 2000


def test_a_delta_travels_on_as_the_key_payload_that_its_device_keeps(
    desk: Desk, camera: FakeCamera
) -> None:
    refinement = camera.refinement(2)
    frame = replace(
        camera.embedding(2), payload=refinement, payloads=(camera.delta(2, 1), refinement)
    )
    desk.escalations.ask(frame, (7, 8, 2), EdgeSeconds())
    (request,) = desk.published.sent
    assert unpack_escalation(request.payload).payloads == (camera.key_frame(2), refinement)


def test_an_answer_finds_its_question(desk: Desk, camera: FakeCamera) -> None:
    desk.ask(camera, 1)
    desk.ask(camera, 2)
    assert desk.escalations.state().pending == 2
    desk.clock.now += 0.3
    desk.reply(desk.published.sent[1])
    ((frame, update),) = desk.answers
    assert frame.key == camera.key(2)
    assert update.text == "a white dog"
    assert update.stages.cloud == pytest.approx(0.3)
    assert desk.escalations.state().pending == 1


def test_a_worker_that_died_is_asked_again_elsewhere(desk: Desk, camera: FakeCamera) -> None:
    desk.ask(camera)
    desk.pass_time(LEASE_S - 0.01)
    assert len(desk.published.sent) == 1
    desk.pass_time(0.01)
    first, second = desk.published.sent
    assert second.payload == first.payload
    desk.reply(second)
    assert len(desk.answers) == 1
    assert desk.escalations.state().rest_s == 0
    desk.pass_time(100)
    assert len(desk.published.sent) == 2


def test_the_first_workers_late_answer_still_counts_once(desk: Desk, camera: FakeCamera) -> None:
    desk.ask(camera)
    desk.pass_time(LEASE_S)
    first, second = desk.published.sent
    desk.reply(first)
    desk.reply(second)
    assert len(desk.answers) == 1
    assert desk.outcomes("late") == 1


def test_after_the_second_lease_it_is_given_up(desk: Desk, camera: FakeCamera) -> None:
    desk.ask(camera)
    desk.pass_time(LEASE_S)
    desk.pass_time(LEASE_S)
    assert len(desk.published.sent) == 2
    state = desk.escalations.state()
    assert (state.pending, state.rest_s) == (0, 1.0)
    assert desk.faults("unanswered") == 1
    desk.reply(desk.published.sent[0])
    assert desk.answers == []
    assert desk.outcomes("late") == 1


def test_the_cloud_rests_longer_each_time_and_an_answer_ends_it(
    desk: Desk, camera: FakeCamera
) -> None:
    rests = []
    for _ in range(7):
        desk.ask(camera)
        desk.pass_time(LEASE_S)
        desk.pass_time(LEASE_S)
        rests.append(desk.escalations.state().rest_s)
        desk.pass_time(rests[-1])
    assert rests == [1, 2, 4, 8, 16, 30, 30]
    desk.ask(camera)
    desk.reply(desk.published.sent[-1])
    desk.ask(camera)
    desk.pass_time(LEASE_S)
    desk.pass_time(LEASE_S)
    assert desk.escalations.state().rest_s == 1


def test_questions_that_fail_together_are_one_failure(desk: Desk, camera: FakeCamera) -> None:
    for sequence in range(6):
        desk.ask(camera, sequence)
    desk.pass_time(LEASE_S)
    desk.pass_time(LEASE_S)
    assert desk.faults("unanswered") == 6
    assert desk.escalations.state().rest_s == 1


def test_no_worker_is_known_at_once(desk: Desk, camera: FakeCamera) -> None:
    desk.published.code = 0x10
    desk.ask(camera)
    state = desk.escalations.state()
    assert (state.pending, state.rest_s) == (0, ABSENT_REST_S)
    assert desk.faults("no_worker") == 1
    desk.pass_time(10)
    assert len(desk.published.sent) == 1


def test_a_refused_request_is_given_up(desk: Desk, camera: FakeCamera) -> None:
    desk.published.code = 0x87
    desk.ask(camera)
    assert desk.escalations.state().pending == 0
    assert desk.faults("refused") == 1


def test_without_a_broker_nothing_is_pending(desk: Desk, camera: FakeCamera) -> None:
    desk.published.connected = False
    desk.ask(camera)
    assert desk.escalations.state().pending == 0
    assert desk.faults("unsent") == 1


def test_a_lost_connection_is_left_to_the_lease(desk: Desk, camera: FakeCamera) -> None:
    desk.published.holds = True
    desk.ask(camera)
    desk.published.sent[0].ack(None)
    assert desk.escalations.state().pending == 1
    desk.pass_time(LEASE_S)
    assert len(desk.published.sent) == 2


def test_a_worker_that_says_no_is_replaced_at_once(desk: Desk, camera: FakeCamera) -> None:
    desk.ask(camera)
    desk.reply(desk.published.sent[0], error="busy: ask another worker")
    assert len(desk.published.sent) == 2
    desk.pass_time(LEASE_S / 2)
    desk.reply(desk.published.sent[1])
    assert len(desk.answers) == 1
    assert desk.outcomes("error") == 1


def test_two_that_say_no_are_enough(desk: Desk, camera: FakeCamera) -> None:
    desk.ask(camera)
    desk.reply(desk.published.sent[0], error="busy")
    desk.reply(desk.published.sent[1], error="busy")
    assert len(desk.published.sent) == 2
    assert desk.escalations.state().pending == 0
    assert desk.faults("unanswered") == 1


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b'{"version": 9}', b"\xff\x00"])
def test_a_reply_that_makes_no_sense_is_counted(
    desk: Desk, camera: FakeCamera, content: bytes
) -> None:
    desk.ask(camera)
    desk.escalations.reply(content, desk.published.sent[0].correlation)
    assert desk.faults("malformed") + desk.faults("version") == 1
    assert desk.escalations.state().pending == 1


@pytest.mark.parametrize("correlation", [None, b"", b"12345678"])
def test_a_reply_to_nobody_is_ignored(
    desk: Desk, camera: FakeCamera, correlation: bytes | None
) -> None:
    desk.ask(camera)
    desk.reply(replace(desk.published.sent[0], correlation=correlation))
    assert desk.answers == []
    assert desk.outcomes("late") == 1


def test_the_last_minute_is_counted(desk: Desk, camera: FakeCamera) -> None:
    for sequence in range(3):
        desk.ask(camera, sequence)
        desk.clock.now += 25
    assert desk.escalations.state().asked_last_minute == 2

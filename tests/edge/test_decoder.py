from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.edge.conftest import Published

from aiflow.common.encoder import Encoder
from aiflow.common.messages import CloudReply, CloudSeconds
from aiflow.common.metrics import Counters
from aiflow.common.topics import Topics
from aiflow.common.wire import (
    RefineOrder,
    unpack_refine_order,
)
from aiflow.edge.ask_cloud import Escalations, Pool
from aiflow.edge.ask_device import DeviceRequests
from aiflow.edge.custody import Custody
from aiflow.edge.decoder import Decoder, EdgeModel
from aiflow.edge.image_encoder import ImageEncoder
from aiflow.edge.ledger import Ledger
from aiflow.edge.policy import AskLimits, Judgement, Repairs
from aiflow.edge.publisher import Publisher
from aiflow.edge.timers import Timers

if TYPE_CHECKING:
    from tests.edge.conftest import FakeCamera, FakeCaptions, Sent


def _no_encoder(_bundle: str) -> Encoder:
    raise AssertionError("there are no pictures")


class Desk:
    """A decoder with its surroundings; an answer of the cloud becomes an update."""

    def __init__(
        self,
        ledger: Ledger,
        published: Published,
        captions: FakeCaptions,
        bundle_id: str,
        refines: int = 0,
    ) -> None:
        self.published = published
        self.captions = captions
        self.counters = Counters()
        timers = Timers(self.counters)
        # Receipts are not looked at here.
        custody = Custody(ledger, Published(), Topics(), timers, self.counters, receipt_every_s=0.5)
        self.publisher = Publisher(published, Topics(), custody, {}, self.counters)
        self.escalations = Escalations(
            published,
            Pool(
                "aiflow/cloud/default/request",
                "aiflow/edge/edge1/reply",
                2.0,
            ),
            timers,
            self.counters,
        )
        limits = AskLimits(threshold=0.8, per_minute=10, max_pending=4, refines_per_minute=refines)
        self.decoder = Decoder(
            EdgeModel(
                captions,
                ImageEncoder(_no_encoder),
                {bundle_id: Judgement(limits, Repairs({1: 0.1, 2: 0.1}, {1: 0.5}))},
            ),
            self.publisher,
            self.escalations,
            DeviceRequests(published, Topics(), self.counters),
            custody,
            self.counters,
        )

    def reply(self, request: Sent, payload: bytes) -> None:
        update = self.escalations.reply(payload, request.correlation)
        assert update is not None
        self.publisher.publish(*update)


@pytest.fixture
def desk(
    tmp_path: Path, published: Published, captions: FakeCaptions, bundle_id: str
) -> Iterator[Desk]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Desk(ledger, published, captions, bundle_id)


@pytest.fixture
def asking_desk(
    tmp_path: Path, published: Published, captions: FakeCaptions, bundle_id: str
) -> Iterator[Desk]:
    """It may ask devices for more."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Desk(ledger, published, captions, bundle_id, refines=5)


def test_a_batch_is_decoded_in_one_go(desk: Desk, camera: FakeCamera) -> None:
    desk.decoder.caption([camera.embedding(sequence) for sequence in (1, 2, 3)])
    assert [len(batch) for batch in desk.captions.batches] == [3]
    captions = [message.caption for message in desk.published.to("/event")]
    assert [caption.sequence for caption in captions] == [1, 2, 3]
    assert captions[0].text == f"a sum of {camera.symbols(1)[:4].sum()}"
    assert captions[0].reason == "confidence 0.90 >= 0.80"


def test_stages_are_measured(desk: Desk, camera: FakeCamera) -> None:
    desk.decoder.caption([camera.embedding(1, received_at=time.monotonic() - 0.5)])
    latency = desk.published.to("/event")[0].caption.latency_s
    assert latency.queue == pytest.approx(0.5, abs=0.1)
    assert latency.decode is not None


def test_an_unsure_caption_is_published_first_and_then_asked_about(
    desk: Desk, camera: FakeCamera
) -> None:
    desk.captions.confidence = 0.4
    desk.decoder.caption([camera.embedding(1)])
    assert [message.topic for message in desk.published.sent] == [
        "aiflow/pi/door/caption",
        "aiflow/pi/door/event",
        "aiflow/cloud/default/request",
    ]
    caption = desk.published.sent[0].caption
    assert (caption.tier, caption.mode, caption.type) == ("edge", "cascade", "new")
    assert caption.reason == "confidence 0.40 < 0.80, asked the cloud"
    assert desk.counters.value("aiflow_decisions_total", cause="escalated") == 1


def test_the_answer_is_an_update_under_the_same_id(desk: Desk, camera: FakeCamera) -> None:
    desk.captions.confidence = 0.4
    desk.decoder.caption([camera.embedding(1)])
    reply = CloudReply(
        text="better",
        confidence=0.99,
        accepted=2,
        drafted=3,
        seconds=CloudSeconds(queue=0, compute=0),
        worker="w",
    )
    desk.reply(desk.published.sent[-1], reply.to_json())
    new, update = (message.caption for message in desk.published.to("/caption"))
    assert update.id == new.id
    assert (update.type, update.tier, update.text) == ("update", "cloud", "better")
    assert update.reason == "the cloud kept 2 of 3 drafted tokens"
    assert update.latency_s.decode == new.latency_s.decode
    assert update.latency_s.cloud is not None


def test_what_could_not_be_published_is_not_asked_about(desk: Desk, camera: FakeCamera) -> None:
    desk.captions.confidence = 0.4
    desk.published.connected = False
    desk.decoder.caption([camera.embedding(1)])
    assert desk.counters.total("aiflow_escalations_total") == 0


def test_pending_questions_are_bounded(desk: Desk, camera: FakeCamera) -> None:
    desk.captions.confidence = 0.4
    desk.decoder.caption([camera.embedding(sequence) for sequence in range(9)])
    assert len(desk.published.to("/request")) == 4
    assert len(desk.published.to("/event")) == 9
    assert desk.counters.value("aiflow_decisions_total", cause="pending") == 5


def test_an_unsure_caption_of_the_base_layer_asks_its_device_for_the_rest(
    asking_desk: Desk, camera: FakeCamera
) -> None:
    desk = asking_desk
    desk.captions.confidence = 0.5
    frame = camera.embedding(1)
    assert len(frame.decoded.symbols) == 4, "of six tokens"
    desk.decoder.caption([frame])
    (order,) = desk.published.to("/refine")
    assert unpack_refine_order(order.payload) == RefineOrder(1, 1, 1)
    assert not desk.published.to("/request")
    desk.decoder.caption([replace(frame, refined=True)])
    assert len(desk.published.to("/refine")) == 1, "nobody is asked twice"
    assert len(desk.published.to("/request")) == 1
    assert [one.caption.type for one in desk.published.to("/event")] == ["new", "update"]
    assert desk.counters.value("aiflow_decisions_total", cause="refined") == 1

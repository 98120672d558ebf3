from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.edge.conftest import Published

from aiflow.common.bundle import BundleCoding
from aiflow.common.codec import Tables
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties
from aiflow.common.topics import Topics
from aiflow.common.wire import (
    MAX_ESCALATED_PAYLOADS,
    Header,
    Kind,
    Local,
    Packet,
    Why,
    pack,
    pack_local,
)
from aiflow.edge.custody import Custody
from aiflow.edge.ledger import Ledger
from aiflow.edge.received import EmbeddingFrame, LocalCaption, PictureFrame, StreamKey
from aiflow.edge.receiver import ReceiveLimits, Receiver
from aiflow.edge.timers import Timers

if TYPE_CHECKING:
    from tests.edge.conftest import FakeCamera

KEY = bytes(range(32))
PLAIN = Properties()


class Desk:
    """A receiver with its surroundings; keeps what it hands on."""

    def __init__(self, ledger: Ledger, bundle_id: str, tables: Tables) -> None:
        self.counters = Counters()
        self.custody = Custody(
            ledger,
            Published(),
            Topics(),
            Timers(self.counters),
            self.counters,
            receipt_every_s=0.5,
        )
        self.frames: list[EmbeddingFrame] = []
        self.captions: list[LocalCaption] = []
        self.pictures: list[PictureFrame] = []
        self.wanted: list[StreamKey] = []
        self.receiver = Receiver(
            Topics(),
            [BundleCoding(bundle_id, bytes.fromhex(bundle_id)[:2], tables)],
            {"signer": KEY},
            self.custody,
            self.wanted.append,
            self.counters,
            ReceiveLimits(max_streams=8, late_after_s=5.0),
        )

    def describe(self, camera: FakeCamera) -> None:
        self.receiver.descriptor(camera.topic("descriptor"), camera.descriptor().to_json(), PLAIN)

    def receive(self, camera: FakeCamera, payload: bytes, properties: Properties = PLAIN) -> None:
        match self.receiver.frame(camera.topic("embedding"), payload, properties):
            case EmbeddingFrame() as frame:
                self.frames.append(frame)
            case PictureFrame() as picture:
                self.pictures.append(picture)
            case LocalCaption() as caption:
                self.captions.append(caption)

    def errors(self, reason: str) -> int:
        return self.counters.value("aiflow_payload_errors_total", reason=reason)


@pytest.fixture
def desk(tmp_path: Path, bundle_id: str, tables: Tables) -> Iterator[Desk]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield Desk(ledger, bundle_id, tables)


def test_a_key_frame_becomes_symbols(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    payload = camera.key_frame(3, captured_ms=1500)
    desk.receive(camera, payload)
    (frame,) = desk.frames
    assert frame.key == camera.key(3)
    assert frame.captured_s == (camera.context.epoch_ms + 1500) / 1000
    assert frame.payloads == (payload,)
    assert frame.late  # that session began years ago
    np.testing.assert_array_equal(frame.decoded.symbols, camera.symbols(3)[:4])
    assert desk.counters.value("aiflow_received_bytes_total") == len(payload)


def test_a_fresh_frame_is_not_late(desk: Desk, new_camera: type[FakeCamera]) -> None:
    now = new_camera(epoch_ms=int(time.time() * 1000) - 1000)
    desk.describe(now)
    desk.receive(now, now.key_frame(1, captured_ms=990))
    assert not desk.frames[0].late


def test_all_layers_at_once(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(3, layers=2))
    np.testing.assert_array_equal(desk.frames[0].decoded.symbols, camera.symbols(3))


def test_a_delta_is_decoded_against_its_reference(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    key, delta = camera.key_frame(3), camera.delta(4, 3)
    desk.receive(camera, key)
    desk.receive(camera, delta)
    np.testing.assert_array_equal(desk.frames[1].decoded.symbols, camera.symbols(4)[:4])
    assert desk.frames[1].payloads == (delta,)
    assert desk.frames[1].header == Header(camera.tag, 4, 0, 1)


def test_deltas_refer_to_deltas(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(0))
    for sequence in range(1, 600):
        desk.receive(camera, camera.delta(sequence, sequence - 1))
    assert len(desk.frames) == 600
    np.testing.assert_array_equal(desk.frames[-1].decoded.symbols, camera.symbols(599)[:4])


def test_a_delta_without_its_reference_asks_for_key_frames(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(2))
    for sequence in (4, 5, 6):
        desk.receive(camera, camera.delta(sequence, 3))
    assert len(desk.frames) == 1
    assert desk.errors("reference") == 3
    assert desk.wanted == [camera.stream]  # one order for all of them
    desk.receive(camera, camera.key_frame(4))
    assert desk.frames[1].key == camera.key(4)


def test_a_delta_of_a_refined_frame(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    for payload in (camera.key_frame(3), camera.refinement(3), camera.delta(4, 3)):
        desk.receive(camera, payload)
    np.testing.assert_array_equal(desk.frames[2].decoded.symbols, camera.symbols(4)[:4])


def test_what_is_captioned_already_may_be_referred_to(desk: Desk, camera: FakeCamera) -> None:
    """After a restart the ledger knows more frames than the memory."""
    desk.describe(camera)
    desk.custody.captioned(camera.key(3))
    desk.custody.settle()
    desk.receive(camera, camera.key_frame(3))
    assert desk.frames == []
    desk.receive(camera, camera.delta(4, 3))
    np.testing.assert_array_equal(desk.frames[0].decoded.symbols, camera.symbols(4)[:4])


def test_a_refinement_adds_layers_and_needs_no_custody(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(3))
    desk.receive(camera, camera.refinement(3))
    base, refined = desk.frames
    assert (base.refined, refined.refined) == (False, True)
    np.testing.assert_array_equal(refined.decoded.symbols, camera.symbols(3))
    np.testing.assert_array_equal(refined.decoded.own, camera.symbols(3)[:4])
    assert refined.payloads == (camera.key_frame(3), camera.refinement(3))
    for _ in range(20):
        desk.receive(camera, camera.refinement(3))
    assert len(desk.frames[-1].payloads) == MAX_ESCALATED_PAYLOADS + 1


def test_bytes_on_the_devices_link_are_those_of_the_message(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    payload = camera.key_frame(1)
    desk.receive(camera, payload)
    desk.receive(camera, camera.key_frame(2), Properties(qos=1, expiry_s=60))
    # Fixed header 2, topic length 2, property length 1, alias 3; packet id 2, expiry 5.
    assert [frame.uplink_bytes - len(payload) for frame in desk.frames] == [8, 15]


def test_a_caption_of_the_device_is_passed_on(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.local(3, "ein roter Bus fährt", 0.6))
    (frame,) = desk.captions
    assert frame.local.text == "ein roter Bus fährt"
    assert frame.local.confidence == pytest.approx(0.6)
    assert desk.frames == []


def test_a_frame_that_comes_twice_is_handed_on_once(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    for _ in range(3):
        desk.receive(camera, camera.key_frame(1))
    assert len(desk.frames) == 1


def test_before_its_descriptor_a_payload_is_dropped_and_counted(
    desk: Desk, camera: FakeCamera
) -> None:
    desk.receive(camera, camera.key_frame(1))
    assert desk.errors("no_descriptor") == 1
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(1))  # the device sends it again
    assert len(desk.frames) == 1


def test_after_its_descriptor_is_removed_too(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receiver.descriptor(camera.topic("descriptor"), b"", PLAIN)
    desk.receive(camera, camera.key_frame(1))
    assert desk.errors("no_descriptor") == 1


def _flipped(payload: bytes) -> bytes:
    return payload[:-3] + bytes([payload[-3] ^ 1]) + payload[-2:]


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda payload: payload[:4], "truncated"),
        (lambda payload: b"", "truncated"),
        (lambda payload: bytes([0x20]) + payload[1:], "version"),
        (_flipped, "checksum"),
        (lambda payload: payload * 500, "malformed"),
    ],
)
def test_bad_payloads_are_counted_by_reason_and_disturb_nothing(
    desk: Desk, camera: FakeCamera, change: object, reason: str
) -> None:
    assert callable(change)
    desk.describe(camera)
    desk.receive(camera, change(camera.key_frame(1)))
    assert desk.frames == []
    assert desk.errors(reason) == 1
    desk.receive(camera, camera.key_frame(1))
    assert len(desk.frames) == 1


def test_a_body_that_no_codec_made_is_not_asked_for_again(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.raw(b"\xff" * 40))
    assert desk.errors("malformed") == 1
    desk.custody.settle()
    assert desk.custody.held == 0
    assert desk.custody.owes(camera.stream) == {1}
    assert desk.frames == []


def test_another_bundle(desk: Desk, new_camera: type[FakeCamera]) -> None:
    foreign = new_camera(bundle_id="cd" * 32)
    desk.describe(foreign)
    desk.receive(foreign, foreign.key_frame(1))
    assert desk.errors("bundle") == 1


def test_another_bundle_behind_our_descriptor(
    desk: Desk, camera: FakeCamera, new_camera: type[FakeCamera]
) -> None:
    desk.describe(camera)
    desk.receive(camera, new_camera(bundle_id="cd" * 32).key_frame(1))
    assert desk.errors("bundle") == 1


def test_another_cameras_payload(
    desk: Desk, camera: FakeCamera, new_camera: type[FakeCamera]
) -> None:
    desk.describe(camera)
    desk.receive(camera, new_camera("gate").key_frame(1))
    assert desk.errors("checksum") == 1


def test_signed_payloads(desk: Desk, new_camera: type[FakeCamera]) -> None:
    signer = new_camera(device="signer", key=KEY)
    desk.describe(signer)
    desk.receive(signer, signer.key_frame(1))
    assert desk.frames[0].context.trailer_bytes == 8
    desk.receive(signer, _flipped(signer.key_frame(2)))
    desk.receive(signer, new_camera(device="signer").key_frame(2, layers=2))
    assert desk.errors("mac") == 2
    assert len(desk.frames) == 1


def test_no_flipped_bit_passes_a_mac(desk: Desk, new_camera: type[FakeCamera]) -> None:
    signer = new_camera(device="signer", key=KEY)
    desk.describe(signer)
    desk.receive(signer, signer.key_frame(1))
    for payload in (signer.key_frame(2), signer.delta(2, 1)):
        for bit in range(8 * len(payload)):
            flipped = bytearray(payload)
            flipped[bit // 8] ^= 1 << bit % 8
            desk.receive(signer, bytes(flipped))
    assert len(desk.frames) == 1
    assert desk.custody.held == 1
    assert desk.errors("mac") > 100


def test_a_replay_gets_a_receipt_and_no_caption(desk: Desk, new_camera: type[FakeCamera]) -> None:
    signer = new_camera(device="signer", key=KEY)
    desk.describe(signer)
    payload = signer.key_frame(1)
    desk.receive(signer, payload)
    desk.custody.captioned(signer.key(1))
    desk.custody.settle()
    before = desk.custody.owes(signer.stream)
    for _ in range(5):
        desk.receive(signer, payload)
    assert len(desk.frames) == 1
    assert before == desk.custody.owes(signer.stream) == {1}
    assert desk.counters.value("aiflow_duplicates_total", reason="captioned") == 5


def test_a_replay_of_an_older_session(desk: Desk, new_camera: type[FakeCamera]) -> None:
    older = new_camera(device="signer", key=KEY, epoch_ms=1)
    newer = new_camera(device="signer", key=KEY, epoch_ms=2)
    desk.describe(older)
    desk.receive(older, older.key_frame(1))
    desk.custody.captioned(older.key(1))
    desk.custody.settle()
    desk.describe(newer)
    desk.receive(newer, older.key_frame(1))
    assert desk.errors("mac") == 1, "its MAC is right, but for another session"
    assert desk.custody.owes(newer.stream) == set()
    desk.describe(older)  # whoever replays the descriptor as well
    desk.receive(older, older.key_frame(1))
    assert len(desk.frames) == 1, "the ledger knows it"


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b"x" * 70_000])
def test_a_broken_descriptor_is_counted(desk: Desk, camera: FakeCamera, content: bytes) -> None:
    desk.receiver.descriptor(camera.topic("descriptor"), content, PLAIN)
    assert desk.errors("descriptor") == 1


def test_topics_that_are_no_cameras(desk: Desk) -> None:
    desk.receiver.frame("aiflow/edge/door/embedding", b"x", PLAIN)
    desk.receiver.descriptor("other/pi/door/descriptor", b"x", PLAIN)
    assert desk.errors("topic") == 2


def test_whatever_comes_is_counted_or_handed_on(desk: Desk, camera: FakeCamera) -> None:
    rng = random.Random(11)
    desk.describe(camera)
    for sequence in range(10):
        desk.receive(camera, camera.key_frame(sequence))
    for _ in range(2000):
        kind, sequence = rng.choice(list(Kind)), rng.randrange(1, 40)
        start = {
            Kind.LOCAL: pack_local(Local(Why.ASKED, 0.5, "a bus")),
            Kind.IMAGE: b"\xff\xd8\xff",
        }
        packet = Packet(
            kind,
            camera.tag,
            sequence,
            rng.randrange(2**40),
            start.get(kind, rng.randbytes(rng.randrange(9))),
            first_layer=rng.randrange(1, 4) if kind is Kind.REFINE else 0,
            layers=1 if kind in start else rng.randrange(1, 4),
        )
        if kind is Kind.DELTA:
            header = Header(camera.tag, rng.randrange(sequence), 0, packet.layers)
            packet = replace(packet, reference=header)
        desk.receive(camera, pack(packet, camera.context))
        desk.receive(camera, rng.randbytes(rng.randrange(40)))
    received = desk.counters.value("aiflow_received_total")
    errors = desk.counters.total("aiflow_payload_errors_total")
    again = desk.counters.total("aiflow_duplicates_total")
    handed_on = len(desk.frames) + len(desk.captions) + len(desk.pictures)
    assert handed_on + again + errors == received == 4010


def test_faults_are_logged_once_a_minute(
    desk: Desk, camera: FakeCamera, caplog: pytest.LogCaptureFixture
) -> None:
    desk.describe(camera)
    for sequence in range(100):
        desk.receive(camera, _flipped(camera.key_frame(sequence)))
    assert desk.errors("checksum") == 100
    assert caplog.text.count("wrong CRC") == 1

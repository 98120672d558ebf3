from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.common.codec import Tables
from aiflow.common.metrics import Counters
from aiflow.common.topics import Topics
from aiflow.common.wire import MAX_ESCALATED_PAYLOADS, Kind, Packet, pack, pack_local
from aiflow.edge.alarms import Alarms
from aiflow.edge.arrival import Embedding, FrameKey, LocalCaption
from aiflow.edge.custody import Custody
from aiflow.edge.ledger import Ledger
from aiflow.edge.receiver import Coding, Receiver
from aiflow.edge.streams import Streams

if TYPE_CHECKING:
    from tests.edge.conftest import FakeCamera

KEY = bytes(range(32))


class Desk:
    """A receiver with its surroundings; keeps what it hands on."""

    def __init__(self, ledger: Ledger, bundle_id: str, tables: Tables) -> None:
        self.counters = Counters()
        self.custody = Custody(
            ledger, lambda *_: True, Alarms(), self.counters, receipt_every_s=0.5
        )
        self.frames: list[Embedding] = []
        self.captions: list[LocalCaption] = []
        self.wanted: list[FrameKey] = []
        self.receiver = Receiver(
            Topics(),
            Coding(bundle_id, bytes.fromhex(bundle_id)[:2], tables),
            Streams(bundle_id, {"signer": KEY}, max_streams=8),
            self.custody,
            self,
            self.counters,
            late_after_s=5.0,
        )

    def describe(self, camera: FakeCamera) -> None:
        self.receiver.descriptor(camera.topic("descriptor"), camera.descriptor().to_json())

    def receive(self, camera: FakeCamera, payload: bytes) -> None:
        self.receiver.embedding(camera.topic("embedding"), payload)

    def errors(self, reason: str) -> int:
        return self.counters.value("aiflow_payload_errors_total", reason=reason)

    def embedding(self, frame: Embedding) -> None:
        self.frames.append(frame)

    def local_caption(self, frame: LocalCaption) -> None:
        self.captions.append(frame)

    def key_frame_wanted(self, frame: FrameKey) -> None:
        self.wanted.append(frame)


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
    assert frame.chain == (payload,)
    assert frame.late  # that session began years ago
    np.testing.assert_array_equal(frame.symbols, camera.symbols(3)[:4])
    assert desk.counters.value("aiflow_received_bytes_total") == len(payload)


def test_a_fresh_frame_is_not_late(desk: Desk, new_camera: type[FakeCamera]) -> None:
    now = new_camera(epoch_ms=int(time.time() * 1000) - 1000)
    desk.describe(now)
    desk.receive(now, now.key_frame(1, captured_ms=990))
    assert not desk.frames[0].late


def test_all_layers_at_once(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(3, layers=2))
    np.testing.assert_array_equal(desk.frames[0].symbols, camera.symbols(3))


def test_a_delta_is_decoded_against_its_reference(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    key, delta = camera.key_frame(3), camera.delta(4, 3)
    desk.receive(camera, key)
    desk.receive(camera, delta)
    np.testing.assert_array_equal(desk.frames[1].symbols, camera.symbols(4)[:4])
    assert desk.frames[1].chain == (key, delta)


def test_a_long_chain_of_deltas_is_cut_and_seen_to_be(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(0))
    for sequence in range(1, 20):
        desk.receive(camera, camera.delta(sequence, sequence - 1))
    assert [len(frame.chain) for frame in desk.frames[:10]] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]
    assert len(desk.frames[19].chain) == MAX_ESCALATED_PAYLOADS + 1


def test_a_delta_without_its_reference_asks_for_a_key_frame(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    for sequence in (4, 5, 6):
        desk.receive(camera, camera.delta(sequence, 3))
    assert desk.frames == []
    assert desk.errors("reference") == 3
    assert desk.wanted == [camera.key(4)]  # one order for all of them
    desk.receive(camera, camera.key_frame(4))
    assert [frame.key for frame in desk.frames] == [camera.key(4)]  # it had been released


def test_a_refinement_adds_layers_and_needs_no_custody(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.key_frame(3))
    desk.receive(camera, camera.refinement(3))
    base, refined = desk.frames
    assert (base.refined, refined.refined) == (False, True)
    np.testing.assert_array_equal(refined.symbols, camera.symbols(3))
    assert refined.chain == (camera.key_frame(3), camera.refinement(3))


def test_a_caption_of_the_device_is_passed_on(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.local(3, "ein roter Bus fährt", 0.6))
    (frame,) = desk.captions
    assert frame.text == "ein roter Bus fährt"
    assert frame.confidence == pytest.approx(0.6)
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
    desk.receiver.descriptor(camera.topic("descriptor"), b"")
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


def test_a_body_that_no_codec_made(desk: Desk, camera: FakeCamera) -> None:
    desk.describe(camera)
    desk.receive(camera, camera.raw(b"\xff" * 40))
    assert desk.errors("malformed") == 1
    assert desk.custody.held == 0


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
    assert desk.frames[0].trailer_bytes == 8
    desk.receive(signer, _flipped(signer.key_frame(2)))
    desk.receive(signer, new_camera(device="signer").key_frame(2, layers=2))
    assert desk.errors("mac") == 2
    assert len(desk.frames) == 1


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff", b"x" * 70_000])
def test_a_broken_descriptor_is_counted(desk: Desk, camera: FakeCamera, content: bytes) -> None:
    desk.receiver.descriptor(camera.topic("descriptor"), content)
    assert desk.errors("descriptor") == 1


def test_topics_that_are_no_cameras(desk: Desk) -> None:
    desk.receiver.embedding("aiflow/edge/door/embedding", b"x")
    desk.receiver.descriptor("other/pi/door/descriptor", b"x")
    assert desk.errors("topic") == 2


def test_whatever_comes_is_counted_or_handed_on(desk: Desk, camera: FakeCamera) -> None:
    rng = random.Random(11)
    desk.describe(camera)
    for sequence in range(10):
        desk.receive(camera, camera.key_frame(sequence))
    for _ in range(2000):
        kind, sequence = rng.choice(list(Kind)), rng.randrange(1, 40)
        packet = Packet(
            kind,
            camera.tag,
            sequence,
            rng.randrange(2**40),
            pack_local(0.5, "a bus") if kind is Kind.LOCAL else rng.randbytes(rng.randrange(9)),
            first_layer=rng.randrange(1, 4) if kind is Kind.REFINE else 0,
            layers=1 if kind is Kind.LOCAL else rng.randrange(1, 4),
            reference=rng.randrange(sequence) if kind is Kind.DELTA else None,
        )
        desk.receive(camera, pack(packet, camera.context))
        desk.receive(camera, rng.randbytes(rng.randrange(40)))
    received = desk.counters.value("aiflow_received_total")
    errors = desk.counters.total("aiflow_payload_errors_total")
    again = desk.counters.total("aiflow_duplicates_total")
    assert len(desk.frames) + len(desk.captions) + again + errors == received == 4010


def test_faults_are_logged_once_a_minute(
    desk: Desk, camera: FakeCamera, caplog: pytest.LogCaptureFixture
) -> None:
    desk.describe(camera)
    for sequence in range(100):
        desk.receive(camera, _flipped(camera.key_frame(sequence)))
    assert desk.errors("checksum") == 100
    assert caplog.text.count("wrong CRC") == 1

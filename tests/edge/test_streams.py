from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiflow.common.bundle import BundleCoding
from aiflow.common.errors import ConfigError, PayloadMalformed, UnknownBundle
from aiflow.common.frames import MAX_REFERENCES, Seen
from aiflow.common.tables import Tables
from aiflow.edge.streams import Streams

if TYPE_CHECKING:
    from tests.edge.conftest import FakeCamera

KEY = bytes(range(16))


@pytest.fixture
def streams(bundle_id: str) -> Streams:
    return Streams(
        [BundleCoding(bundle_id, bytes.fromhex(bundle_id)[:2], Tables.uniform(1, 1, 2))],
        {"signer": KEY},
        max_streams=3,
    )


def test_a_descriptor_opens_a_stream(streams: Streams, camera: FakeCamera) -> None:
    assert streams.get("pi", "door") is None
    streams.describe("pi", "door", camera.descriptor())
    stream = streams.get("pi", "door")
    assert stream is not None
    assert stream.key == camera.stream
    assert stream.context == camera.context
    assert (len(streams), streams.usable) == (1, 1)
    streams.forget("pi", "door")
    assert streams.get("pi", "door") is None


def test_the_same_descriptor_again_keeps_the_references(
    streams: Streams, camera: FakeCamera
) -> None:
    streams.describe("pi", "door", camera.descriptor())
    stream = streams.get("pi", "door")
    streams.describe("pi", "door", camera.descriptor())
    assert streams.get("pi", "door") is stream


def test_a_new_session_starts_afresh(streams: Streams, new_camera: type[FakeCamera]) -> None:
    streams.describe("pi", "door", new_camera(epoch_ms=1).descriptor())
    stream = streams.get("pi", "door")
    streams.describe("pi", "door", new_camera(epoch_ms=2).descriptor())
    assert streams.get("pi", "door") is not stream
    assert len(streams) == 1


def test_another_bundle_is_warned_of_once(
    streams: Streams, new_camera: type[FakeCamera], caplog: pytest.LogCaptureFixture
) -> None:
    foreign = new_camera(bundle_id="cd" * 32)
    for _ in range(3):
        streams.describe("pi", "door", foreign.descriptor())
    assert caplog.text.count("sends frames for bundle toy (cdcdcdcdcdcd)") == 1
    stream = streams.get("pi", "door")
    assert stream is not None
    with pytest.raises(UnknownBundle, match="toy"):
        stream.known_coding()
    assert streams.usable == 0


def test_a_descriptor_under_a_foreign_topic(streams: Streams, camera: FakeCamera) -> None:
    with pytest.raises(PayloadMalformed, match="under pi/gate is of pi/door"):
        streams.describe("pi", "gate", camera.descriptor())


def test_streams_are_bounded_and_those_present_stay(
    streams: Streams, new_camera: type[FakeCamera]
) -> None:
    for name in ("a", "b", "c"):
        streams.describe("pi", name, new_camera(name).descriptor())
    with pytest.raises(PayloadMalformed, match="stream 4 of at most 3"):
        streams.describe("pi", "d", new_camera("d").descriptor())
    streams.describe("pi", "a", new_camera("a", epoch_ms=9).descriptor())
    assert len(streams) == 3


def test_references_are_bounded(streams: Streams, camera: FakeCamera) -> None:
    streams.describe("pi", "door", camera.descriptor())
    stream = streams.get("pi", "door")
    assert stream is not None
    for sequence in range(MAX_REFERENCES + 5):
        frame = camera.embedding(sequence)
        stream.remember(Seen(frame.header, frame.decoded, frame.payloads))
        stream.used(0)  # it is still referred to
    kept = [*range(6, MAX_REFERENCES + 5), 0]
    assert list(stream.frames) == kept
    assert sorted(stream.decoded) == sorted(kept)
    assert [header.sequence for header in stream.references()] == kept[::-1]


def test_a_device_with_a_key_cannot_go_back_to_a_checksum(
    streams: Streams, new_camera: type[FakeCamera], caplog: pytest.LogCaptureFixture
) -> None:
    streams.describe("signer", "door", new_camera(device="signer").descriptor())
    stream = streams.get("signer", "door")
    assert stream is not None
    assert stream.context.key == KEY
    assert "does not sign, but should" in caplog.text


def test_a_key_of_no_keys_length_is_refused_at_the_start(bundle_id: str) -> None:
    with pytest.raises(ConfigError, match="16 to 32 bytes"):
        Streams(
            [BundleCoding(bundle_id, bytes.fromhex(bundle_id)[:2], Tables.uniform(1, 1, 2))],
            {"pi": b"short"},
            max_streams=3,
        )


def test_a_device_that_signs_without_our_having_its_key(
    streams: Streams, new_camera: type[FakeCamera], caplog: pytest.LogCaptureFixture
) -> None:
    streams.describe("pi", "door", new_camera(key=KEY).descriptor())
    assert "signs, and this node has no key of it" in caplog.text

"""Embeddings out of payloads that a device could have sent, over a real broker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.client import Broker, Embedding, Embeddings
from aiflow.common.bundle import Bundle, built_in
from aiflow.common.codec import compress
from aiflow.common.errors import BrokerRefused, BrokerUnreachable, BundleNotFound, ConfigError
from aiflow.common.messages import Descriptor
from aiflow.common.mqtt import Outgoing, Session
from aiflow.common.wire import Context, Header, Kind, Packet, pack

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

pytestmark = pytest.mark.skipif("street" not in built_in(), reason="needs the bundle `street`")
EPOCH_MS = 1_700_000_000_000
PATIENCE_S = 30.0


class Camera:
    """Sends frames of a stream as a device does."""

    def __init__(self, broker: Broker, *, key: bytes | None = None, bundle: str = "") -> None:
        self.bundle = Bundle.open("street")
        self.context = Context("pi", "door", EPOCH_MS, key)
        self._rng = np.random.default_rng(1)
        self._session = Session(broker, "pi")
        self._session.start()
        self._session.wait_connected(PATIENCE_S)
        self.describe(bundle or self.bundle.id)

    def describe(self, bundle_id: str) -> None:
        encoder = self.bundle.manifest.encoder
        descriptor = Descriptor(
            device="pi",
            camera="door",
            bundle=bundle_id,
            bundle_name="street",
            tokens=encoder.tokens,
            dims=encoder.dims,
            levels=encoder.levels,
            layers=encoder.layers,
            epoch_ms=self.context.epoch_ms,
            width=640,
            height=480,
            software="test",
        )
        self.send("descriptor", descriptor.to_json(), retain=True)

    def symbols(self) -> NDArray[np.uint8]:
        shape = self.bundle.tokens, self.bundle.dims
        return self._rng.integers(0, self.bundle.levels, shape).astype(np.uint8)

    def key_frame(self, sequence: int, symbols: NDArray[np.uint8], layers: int = 0) -> bytes:
        layers = layers or len(self.bundle.layers)
        body = compress(symbols, self.bundle.tables, layers=layers)
        return self._packed(Kind.KEY, sequence, body, layers)

    def delta(
        self, sequence: int, symbols: NDArray[np.uint8], to: int, reference: NDArray[np.uint8]
    ) -> bytes:
        layers = len(self.bundle.layers)
        body = compress(symbols, self.bundle.tables, layers=layers, reference=reference)
        header = Header(self.bundle.tag, to, 100 * to, layers)
        return self._packed(Kind.DELTA, sequence, body, layers, header)

    def _packed(
        self, kind: Kind, sequence: int, body: bytes, layers: int, reference: Header | None = None
    ) -> bytes:
        tag = self.bundle.tag
        packet = Packet(kind, tag, sequence, 100 * sequence, body, 0, layers, reference)
        return pack(packet, self.context)

    def send(self, leaf: str, payload: bytes, *, retain: bool = False) -> None:
        accepted = threading.Event()
        assert self._session.publish(
            Outgoing(
                f"aiflow/pi/door/{leaf}",
                payload,
                qos=1,
                retain=retain,
                on_accepted=lambda _reason: accepted.set(),
            )
        )
        assert accepted.wait(PATIENCE_S)

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def broker(mosquitto: Mosquitto) -> Broker:
    return Broker(port=mosquitto.port)


@pytest.fixture
def camera(broker: Broker) -> Iterator[Camera]:
    camera = Camera(broker)
    yield camera
    camera.close()


def got(embeddings: Embeddings) -> Embedding:
    one = embeddings.next(PATIENCE_S)
    assert one is not None, embeddings.skipped
    return one


def until_heard(embeddings: Embeddings, camera: Camera) -> Embedding:
    """Send key frame 0 until the subscription is there; it comes once."""
    symbols = camera.symbols()
    for _ in range(300):
        camera.send("embedding", camera.key_frame(0, symbols))
        if (one := embeddings.next(0.1)) is not None:
            np.testing.assert_array_equal(one.symbols, symbols)
            return one
    pytest.fail(f"nothing is heard: {embeddings.skipped}")


def test_a_key_frame_and_a_delta_come_as_they_were_encoded(broker: Broker, camera: Camera) -> None:
    with Embeddings(broker) as embeddings:
        first = until_heard(embeddings, camera)
        symbols = first.symbols.copy()
        symbols[3] = (symbols[3] + 1) % np.array(camera.bundle.levels)
        camera.send("embedding", camera.delta(1, symbols, 0, first.symbols))
        second = got(embeddings)
    np.testing.assert_array_equal(second.symbols, symbols)
    assert (second.device, second.camera, second.sequence) == ("pi", "door", 1)
    assert second.timestamp == EPOCH_MS / 1000 + 0.1
    assert second.symbols.dtype == np.uint8


def test_vectors_are_symbols_from_minus_one_to_one(broker: Broker, camera: Camera) -> None:
    with Embeddings(broker) as embeddings:
        until_heard(embeddings, camera)
        symbols = camera.symbols()
        symbols[0], symbols[1] = 0, np.array(camera.bundle.levels) - 1
        camera.send("embedding", camera.key_frame(1, symbols, layers=1))
        one = got(embeddings)
    sent = camera.bundle.layers[0]
    assert one.symbols.shape == (sent, camera.bundle.dims)
    assert one.vectors.dtype == one.vector.dtype == np.float32
    assert (one.vectors[0] == -1).all()
    assert (one.vectors[1] == 1).all()
    assert one.vector.shape == (camera.bundle.tokens * camera.bundle.dims,)
    assert not one.vector[sent * camera.bundle.dims :].any()


def test_who_comes_in_the_middle_waits_for_a_key_frame(broker: Broker, camera: Camera) -> None:
    with Embeddings(broker) as embeddings:
        until_heard(embeddings, camera)
        unknown, symbols = camera.symbols(), camera.symbols()
        camera.send("embedding", camera.delta(8, symbols, 7, unknown))
        camera.send("embedding", camera.key_frame(9, symbols))
        camera.send("embedding", camera.delta(10, unknown, 9, symbols))
        assert [got(embeddings).sequence, got(embeddings).sequence] == [9, 10]
        assert embeddings.skipped["reference"] == 1


def test_another_bundle_is_skipped_and_counted(broker: Broker) -> None:
    camera = Camera(broker, bundle="cd" * 32)
    with Embeddings(broker) as embeddings:
        for _ in range(300):
            camera.send("embedding", camera.key_frame(0, camera.symbols()))
            if {"bundle", "no_descriptor"} <= set(embeddings.skipped):
                break
        assert embeddings.next(0.0) is None
        assert embeddings.skipped["bundle"] == 1
    camera.close()


def test_a_device_that_signs_is_read_with_its_key_alone(broker: Broker) -> None:
    key = bytes(range(16))
    camera = Camera(broker, key=key)
    with Embeddings(broker, keys={"pi": key}) as knowing, Embeddings(broker) as other:
        until_heard(knowing, camera)
        for _ in range(300):
            camera.send("embedding", camera.key_frame(0, camera.symbols()))
            if "checksum" in other.skipped:
                break
        assert other.next(0.0) is None
        assert "checksum" in other.skipped
    camera.close()


def test_a_new_session_of_a_device_is_followed(broker: Broker, camera: Camera) -> None:
    with Embeddings(broker) as embeddings:
        until_heard(embeddings, camera)
        camera.context = Context("pi", "door", EPOCH_MS + 1)
        camera.send("embedding", camera.key_frame(1, camera.symbols()))
        camera.describe(camera.bundle.id)
        camera.send("embedding", camera.key_frame(2, camera.symbols()))
        one = got(embeddings)
        assert (one.sequence, one.epoch_ms) == (2, EPOCH_MS + 1)
        assert embeddings.skipped["checksum"] == 1


def test_iterating_ends_after_silence(broker: Broker, camera: Camera) -> None:
    assert list(Embeddings(broker, timeout_s=0.3)) == []


def test_iterating_ends_when_closed_by_another_thread(broker: Broker) -> None:
    embeddings = Embeddings(broker)
    with embeddings:
        threading.Timer(0.3, embeddings.close).start()
        assert list(embeddings) == []


def test_a_loop_that_is_too_slow_loses_some_and_knows(
    broker: Broker, camera: Camera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiflow.client.subscription.MAX_WAITING", 2)
    with Embeddings(broker) as embeddings:
        until_heard(embeddings, camera)
        for sequence in range(1, 6):
            camera.send("embedding", camera.key_frame(sequence, camera.symbols()))
        for _ in range(300):
            if embeddings.skipped.get("too_slow") == 3:
                break
            threading.Event().wait(0.1)
        assert embeddings.skipped["too_slow"] == 3
        assert [got(embeddings).sequence, got(embeddings).sequence] == [1, 2]


def test_faults_are_said_at_once_and_leave_nothing_behind(mosquitto: Mosquitto) -> None:
    with pytest.raises(BundleNotFound):
        Embeddings(Broker(), bundles=["nowhere"])
    with pytest.raises(ConfigError, match="a device key has"):
        Embeddings(Broker(), keys={"pi": b"short"})
    with pytest.raises(ConfigError, match="camera name"):
        Embeddings(Broker(), camera="a/b")
    before = threading.active_count()
    mosquitto.stop()
    mosquitto.configure(anonymous=False)
    mosquitto.start()
    with pytest.raises(BrokerRefused, match="Not authorized"):
        list(Embeddings(Broker(port=mosquitto.port)))
    mosquitto.stop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aiflow.client.subscription.CONNECT_S", 0.3)
        with pytest.raises(BrokerUnreachable):
            list(Embeddings(Broker(port=mosquitto.port)))
    assert threading.active_count() == before

"""Stand-ins for what an edge node is connected to: a camera, a broker, a decoder, a clock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import pytest

from aiflow.common.bundle import BundleCoding
from aiflow.common.captioner import Draft, Request
from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.messages import Caption, CloudReply, CloudSeconds, Descriptor
from aiflow.common.mqtt import Outgoing, Reason
from aiflow.common.symbols import Decoded
from aiflow.common.wire import Context, Header, Kind, Local, Packet, Why, pack, pack_local
from aiflow.edge.received import EmbeddingFrame, FrameKey, StreamKey
from aiflow.edge.timers import Action, Timers

BUNDLE_ID = "ab" * 32
TAG = bytes.fromhex(BUNDLE_ID)[:2]
TABLES = Tables.uniform(6, 3, 5, layers=(4, 6))
EPOCH_MS = 1_700_000_000_000


class Clock:
    """A monotonic clock that moves only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Sent(Outgoing):
    """One message that was published."""

    def ack(self, code: int | None = 0) -> None:
        if self.on_accepted is not None:
            self.on_accepted(None if code is None else Reason(code, "a reason"))

    @property
    def caption(self) -> Caption:
        return Caption.from_json(self.payload)


def due(timers: Timers) -> list[Action]:
    """Take out what is due by the timers' own clock."""
    actions = []
    while timers._heap and timers._heap[0][0] <= timers._clock():
        actions.append(timers.wait())
    return [action for action in actions if action is not None]


@dataclass
class Published:
    """Keeps what is published; acks at once with `code`, or never while `holds`."""

    connected: bool = True
    holds: bool = False
    code: int = 0
    sent: list[Sent] = field(default_factory=list)
    on_publish: Callable[[], object] = field(default=lambda: None)

    def __call__(self, outgoing: Outgoing) -> bool:
        if not self.connected:
            return False
        message = Sent(*(getattr(outgoing, one.name) for one in fields(outgoing)))
        self.sent.append(message)
        self.on_publish()
        if not self.holds:
            message.ack(self.code)
        return True

    def to(self, ending: str) -> list[Sent]:
        return [message for message in self.sent if message.topic.endswith(ending)]


def cloud_reply(error: str | None = None) -> bytes:
    """What a cloud worker answers."""
    return CloudReply(
        text="a white dog",
        confidence=0.98,
        accepted=2,
        drafted=3,
        passes=2,
        seconds=CloudSeconds(queue=0.0, compute=0.01),
        worker="w",
        error=error,
    ).to_json()


class FakeCaptions:
    """Says the symbols' sum, while it is `open`; `confidence` may be set at any time."""

    def __init__(self, confidence: float = 0.9) -> None:
        self.confidence = confidence
        self.batches: list[list[Request]] = []
        self.fault: Exception | None = None
        self.open = threading.Event()
        self.open.set()

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        assert self.open.wait(10.0)
        self.batches.append(list(batch))
        if self.fault is not None:
            raise self.fault
        return [
            Draft((7, 8, 2), f"a sum of {int(request.symbols.sum())}", self.confidence, passes=3)
            for request in batch
        ]


class FakeCamera:
    """One stream of a device: makes what the device would send."""

    def __init__(
        self,
        camera: str = "door",
        device: str = "pi",
        epoch_ms: int = EPOCH_MS,
        key: bytes | None = None,
        bundle_id: str = BUNDLE_ID,
    ) -> None:
        self.device = device
        self.camera = camera
        self.bundle_id = bundle_id
        self.context = Context(device, camera, epoch_ms, key)
        self.stream = StreamKey(device, camera, epoch_ms)

    def topic(self, leaf: str) -> str:
        return f"aiflow/{self.device}/{self.camera}/{leaf}"

    def key(self, sequence: int) -> FrameKey:
        return FrameKey(self.stream, sequence)

    def descriptor(self) -> Descriptor:
        return Descriptor(
            device=self.device,
            camera=self.camera,
            bundle=self.bundle_id,
            bundle_name="toy",
            tokens=6,
            dims=3,
            levels=(5, 5, 5),
            layers=(4, 6),
            epoch_ms=self.context.epoch_ms,
            authentication="crc16" if self.context.key is None else "blake2s-64",
            width=640,
            height=480,
            software="test",
        )

    def symbols(self, sequence: int) -> Symbols:
        """(6, 3): what the camera sees in that frame."""
        return np.random.default_rng(sequence).integers(0, 5, (6, 3)).astype(np.uint8)

    def key_frame(self, sequence: int, captured_ms: int = 0, layers: int = 1) -> bytes:
        body = compress(self.symbols(sequence), TABLES, layers=layers)
        return self._pack(Packet(Kind.KEY, self.tag, sequence, captured_ms, body, layers=layers))

    def delta(self, sequence: int, reference: int) -> bytes:
        body = compress(self.symbols(sequence), TABLES, reference=self.symbols(reference)[:4])
        header = Header(self.tag, reference, 0, 1)
        return self._pack(Packet(Kind.DELTA, self.tag, sequence, 0, body, reference=header))

    def refinement(self, sequence: int) -> bytes:
        body = compress(self.symbols(sequence), TABLES, first_layer=1)
        return self._pack(Packet(Kind.REFINE, self.tag, sequence, 0, body, first_layer=1))

    def local(self, sequence: int, text: str, confidence: float = 0.6) -> bytes:
        return self._pack(
            Packet(
                Kind.LOCAL,
                self.tag,
                sequence,
                0,
                pack_local(Local(Why.DISCONNECTED, confidence, text)),
            )
        )

    def raw(self, body: bytes, sequence: int = 1) -> bytes:
        """A key frame with that body, whatever it is."""
        return self._pack(Packet(Kind.KEY, self.tag, sequence, 0, body))

    def embedding(self, sequence: int, received_at: float = 0.0) -> EmbeddingFrame:
        """A frame as it is after the receiver."""
        payload = self.key_frame(sequence)
        symbols = self.symbols(sequence)[:4]
        captured_s = self.context.epoch_ms / 1000
        return EmbeddingFrame(
            key=self.key(sequence),
            payload=payload,
            captured_s=captured_s,
            received_s=captured_s + 0.1,
            received_at=received_at,
            late=False,
            coding=BundleCoding(self.bundle_id, self.tag, TABLES),
            uplink_bytes=len(payload) + 8,
            decoded=Decoded(symbols, symbols),
            header=Header(self.tag, sequence, 0, 1),
            payloads=(payload,),
            context=self.context,
        )

    @property
    def tag(self) -> bytes:
        return bytes.fromhex(self.bundle_id)[:2]

    def _pack(self, packet: Packet) -> bytes:
        return pack(packet, self.context)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def captions() -> FakeCaptions:
    return FakeCaptions()


@pytest.fixture
def new_camera() -> type[FakeCamera]:
    """Makes cameras; the default one is `door` of `pi`."""
    return FakeCamera


@pytest.fixture
def camera() -> FakeCamera:
    return FakeCamera()


@pytest.fixture
def tables() -> Tables:
    return TABLES


@pytest.fixture
def bundle_id() -> str:
    return BUNDLE_ID

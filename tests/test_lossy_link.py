"""Device and edge over a link that loses, repeats, delays and reorders, and both ends restart.

Real are the stream, budget, gate, predictor and sender of the device, and the receiver and custody
of the edge node; the outbox, the ledger and the link are stand-ins that live in memory. Whatever
happens: a frame is captioned from the symbols that the device saw, in the end every accepted frame
is captioned, and none twice.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiflow.common.codec import Symbols, Tables
from aiflow.common.encoder import Encoding
from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties
from aiflow.common.symbols import Decoded, decode
from aiflow.common.topics import Topics
from aiflow.common.wire import (
    Context,
    Escalation,
    Kind,
    RefineOrder,
    pack_escalation,
    unpack_escalation,
    unpack_receipt,
)
from aiflow.device.budget import Budget, Thrift
from aiflow.device.camera import Frame, Image
from aiflow.device.gate import Gate
from aiflow.device.outbox import Entry
from aiflow.device.predictor import Predictor
from aiflow.device.sender import Sender
from aiflow.device.stream import Coding as DeviceCoding
from aiflow.device.stream import Stream
from aiflow.edge.alarms import Alarms
from aiflow.edge.arrival import Embedding, FrameKey, LocalCaption, Picture, StreamKey
from aiflow.edge.custody import Custody
from aiflow.edge.ledger import Ledger
from aiflow.edge.question import standing_alone
from aiflow.edge.receiver import Coding as EdgeCoding
from aiflow.edge.receiver import Receiver
from aiflow.edge.streams import Streams

TOKENS, DIMS, LEVELS, LAYERS = 4, 2, 5, (2, 3, 4)
TABLES = Tables.uniform(TOKENS, DIMS, LEVELS, layers=LAYERS)
BUNDLE_ID = "ab" * 32
TAG = bytes.fromhex(BUNDLE_ID)[:2]
IMAGE: Image = np.zeros((24, 32, 3), np.uint8)
TICK_S = 0.5
KEY = bytes(range(16))


@dataclass(frozen=True)
class Weather:
    """Chances for each message, and for each tick."""

    loss: float = 0.0
    repeat: float = 0.0
    latest: int = 0
    """Most ticks that a message may be under way,"""
    stray: float = 0.0
    """but for these, which come when their reference's number modulo 256 has come again."""
    edge_restart: float = 0.0
    device_restart: float = 0.0
    reconnect: float = 0.0
    asks: bool = True
    """The edge node asks for key frames; else only their timers make devices send again."""


class Lane:
    """One direction of the link."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._under_way: list[tuple[int, Callable[[], None]]] = []
        self.weather = Weather()
        self.now = 0

    def send(self, deliver: Callable[[], None]) -> None:
        weather, chance = self.weather, self._chance
        if chance.random() < weather.loss:
            return
        for _ in range(1 + (chance.random() < weather.repeat)):
            ticks = chance.randint(0, weather.latest)
            if chance.random() < weather.stray:
                ticks = chance.randint(250, 270)
            self._under_way.append((self.now + ticks, deliver))

    def tick(self) -> None:
        due = [one for at, one in self._under_way if at <= self.now]
        self._under_way = [(at, one) for at, one in self._under_way if at > self.now]
        self._chance.shuffle(due)
        for deliver in due:
            deliver()
        self.now += 1


@dataclass
class Disk:
    """What outlives a device: outbox and session."""

    entries: dict[int, Entry] = field(default_factory=dict)
    next: int = 0
    epoch_ms: int = 0

    def begin(self) -> None:
        if not self.entries:
            self.epoch_ms += 1

    def describe(self, descriptor: bytes) -> None:
        pass

    def put(self, build: Callable[[int], bytes]) -> Entry:
        entry = Entry(self.next, build(self.next))
        self.entries[self.next] = entry
        self.next += 1
        return entry

    def after(self, sequence: int, limit: int) -> list[Entry]:
        return [self.entries[one] for one in sorted(self.entries) if one > sequence][:limit]

    def get(self, sequence: int) -> Entry | None:
        return self.entries.get(sequence)

    def remove(self, sequences: Iterable[int]) -> int:
        return sum(self.entries.pop(one, None) is not None for one in list(sequences))


class Eye:
    """An encoder that sees a street in which a token changes now and then."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.symbols: Symbols = np.zeros((TOKENS, DIMS), np.uint8)

    def encode(self, image: Image) -> Encoding:
        symbols = self.symbols.copy()
        for token in range(TOKENS):
            if self._chance.random() < 0.15:
                symbols[token] = [self._chance.randrange(LEVELS) for _ in range(DIMS)]
        self.symbols = symbols
        return Encoding(symbols, symbols.astype(np.float32))


class Moody(Budget):
    """Has other thrift with every frame."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(None, layers=len(LAYERS), symbols=0, now=0.0)
        self._chance = chance
        self._layers = len(LAYERS)

    @property
    def thrift(self) -> Thrift:
        if self._chance.random() < 0.1:
            self._layers = self._chance.randint(1, len(LAYERS))
        return Thrift(self._layers, 0)


class SetLedger:
    """What outlives an edge node."""

    def __init__(self) -> None:
        self.frames: set[FrameKey] = set()

    def __contains__(self, frame: FrameKey) -> bool:
        return frame in self.frames

    def mark(self, frames: Iterable[FrameKey]) -> None:
        self.frames.update(frames)


class World:
    """Both ends and what is between them. One tick is half a second."""

    def __init__(self, seed: int, key: bytes | None) -> None:
        self.chance = random.Random(seed)
        self.key = key
        self.up, self.down = Lane(self.chance), Lane(self.chance)
        self.now = 0.0
        self.disk = Disk()
        self.ledger = SetLedger()
        self.seen: dict[FrameKey, Symbols] = {}
        self.captioned: list[FrameKey] = []
        self.refined = 0
        self.kinds: dict[str, int] = {}
        self.counters = Counters()
        self.start_edge()
        self.start_device()

    # The device.

    def start_device(self) -> None:
        self.disk.begin()
        self.context = Context("pi", "door", self.disk.epoch_ms, self.key)
        self.eye = Eye(self.chance)
        self.stream = Stream(
            Gate(pixel_mean=0.0, pixel_peak=0.0, max_interval_s=30.0),
            Moody(self.chance),
            self.eye,
            DeviceCoding(TABLES, TAG, self.context),
            self.disk,
            self.counters,
            lambda: self.now,
        )
        self.sender = Sender(
            self.disk,
            self.publish,
            Predictor(TABLES, self.context, key_every_s=40.0),
            tell=lambda _entry: None,
            window=16,
            resend_after_s=5.0,
            resend_max_s=20.0,
        )
        self.describe()

    def offer(self) -> None:
        entry = self.stream.offer(Frame(IMAGE, self.disk.epoch_ms / 1000 + self.now, 0))
        if entry is not None:
            stream = StreamKey("pi", "door", self.disk.epoch_ms)
            self.seen[FrameKey(stream, entry.sequence)] = self.eye.symbols

    def publish(self, payload: bytes, *, first: bool, ask_broker: bool) -> bool:
        kind = Kind(payload[0] & 0x0F).name
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if self.chance.random() < 0.02:
            return False
        self.up.send(lambda: self.receiver.embedding("aiflow/pi/door/embedding", payload, PLAIN))
        return True

    def order(self, order: RefineOrder) -> None:
        if order.layers == 0:
            self.sender.key_frames(self.now)
            return
        payload = self.stream.refine(order)
        if payload is not None:
            self.publish(payload, first=False, ask_broker=False)

    # The edge node.

    def start_edge(self) -> None:
        self.alarms = Alarms(lambda: self.now)
        self.custody = Custody(
            cast("Ledger", self.ledger),
            self.receipt,
            self.alarms,
            self.counters,
            receipt_every_s=2.0,
            clock=lambda: self.now,
        )
        self.receiver = Receiver(
            Topics(),
            EdgeCoding(BUNDLE_ID, TAG, TABLES),
            Streams(BUNDLE_ID, {} if self.key is None else {"pi": self.key}, max_streams=4),
            self.custody,
            self,
            self.counters,
            late_after_s=5.0,
        )

    def describe(self) -> None:
        """A retained message: it comes late, but it comes."""
        descriptor = Descriptor(
            device="pi",
            camera="door",
            bundle=BUNDLE_ID,
            bundle_name="toy",
            tokens=TOKENS,
            dims=DIMS,
            levels=(LEVELS,) * DIMS,
            layers=LAYERS,
            epoch_ms=self.disk.epoch_ms,
            authentication="crc16" if self.key is None else "blake2s-64",
            width=32,
            height=24,
            software="test",
        ).to_json()
        self.receiver.descriptor("aiflow/pi/door/descriptor", descriptor)

    def receipt(self, stream: StreamKey, receipt: bytes) -> bool:
        self.down.send(lambda: self.sender.receipt(unpack_receipt(receipt).ranges, self.now))
        return True

    def key_frames_wanted(self, stream: StreamKey, newest: int) -> None:
        self.down.send(lambda: self.order(RefineOrder(newest, 0, 0)))

    def picture(self, frame: Picture) -> None:
        raise AssertionError("nobody sends pictures here")

    def local_caption(self, frame: LocalCaption) -> None:
        raise AssertionError("nobody sent one")

    def embedding(self, frame: Embedding) -> None:
        """Caption it at once; sometimes have the cloud look, sometimes ask for more layers."""
        if not frame.refined and self.chance.random() < 0.05:
            self.custody.release(frame.key)  # dropped by a full queue
            return
        symbols = frame.decoded.symbols
        np.testing.assert_array_equal(symbols, self.seen[frame.key][: len(symbols)])
        if self.chance.random() < 0.1:
            np.testing.assert_array_equal(in_the_cloud(frame), symbols)
        if frame.refined:
            self.refined += 1
            return
        self.captioned.append(frame.key)
        self.custody.captioned(frame.key)
        self.custody.settle()
        if self.chance.random() < 0.3:
            first = self.chance.randint(1, len(LAYERS) - 1)
            order = RefineOrder(frame.key.sequence, first, len(LAYERS) - first)
            self.down.send(lambda: self.order(order))

    # Time.

    def tick(self, weather: Weather) -> None:
        self.up.weather = self.down.weather = weather
        if self.chance.random() < weather.edge_restart:
            self.start_edge()
            self.describe()
            if self.chance.random() < 0.7:  # or nobody notices
                self.sender.again(self.now)
        if self.chance.random() < weather.device_restart:
            self.start_device()
        if self.chance.random() < weather.reconnect:
            self.sender.again(self.now)
        self.sender.step(self.now)
        self.up.tick()
        for action in self.alarms.due():
            action()
        self.down.tick()
        self.now += TICK_S

    def settle(self) -> None:
        """In fair weather, until the outbox is empty."""
        for _ in range(400):
            if not self.disk.entries:
                return
            self.tick(Weather())
        raise AssertionError(f"{len(self.disk.entries)} frames are stuck")


PLAIN = Properties()


def in_the_cloud(frame: Embedding) -> Symbols:
    """What a cloud worker makes of the frame's escalation."""
    stream = frame.key.stream
    asked = Escalation(
        stream.device,
        stream.camera,
        stream.epoch_ms,
        1000,
        standing_alone(frame, TABLES),
        (),
        frame.context.trailer_bytes,
    )
    known: dict[int, Decoded] = {}
    for packet in unpack_escalation(pack_escalation(asked)).packets():
        known[packet.sequence] = decode(packet, TABLES, known)
    return known[frame.key.sequence].symbols


def run(seed: int, weather: Weather, frames: int, key: bytes | None = None) -> World:
    world = World(seed, key)
    # The receiver counts real seconds; here they are over in no time.
    with patch("aiflow.edge.receiver.KEY_FRAME_EVERY_S", 0.0 if weather.asks else math.inf):
        for _ in range(frames):
            world.offer()
            world.tick(weather)
        world.settle()
    assert len(world.seen) >= 0.8 * frames
    assert sorted(world.captioned) == sorted(world.seen), "each frame once"
    return world


def test_in_fair_weather_nearly_all_frames_are_deltas() -> None:
    world = run(1, Weather(), 400)
    assert world.kinds["DELTA"] > 0.6 * len(world.seen)
    assert world.refined > 20


@pytest.mark.parametrize("frames, key", [(1600, None), (800, KEY)], ids=["crc", "mac"])
def test_in_foul_weather_for_many_frames(frames: int, key: bytes | None) -> None:
    weather = Weather(
        loss=0.1,
        repeat=0.1,
        latest=12,
        stray=0.02,
        edge_restart=0.01,
        device_restart=0.005,
        reconnect=0.02,
    )
    world = run(2, weather, frames, key)
    assert world.kinds["DELTA"] > 0.1 * frames
    asked = world.counters.value("aiflow_payload_errors_total", reason="reference")
    assert asked > 0.01 * frames, "deltas came without their references"


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32),
    weather=st.builds(
        Weather,
        loss=st.sampled_from([0.0, 0.05, 0.3]),
        repeat=st.sampled_from([0.0, 0.2]),
        latest=st.sampled_from([0, 1, 5, 40]),
        stray=st.sampled_from([0.0, 0.1]),
        edge_restart=st.sampled_from([0.0, 0.02, 0.1]),
        device_restart=st.sampled_from([0.0, 0.02]),
        reconnect=st.sampled_from([0.0, 0.05]),
        asks=st.booleans(),
    ),
    key=st.sampled_from([None, KEY]),
)
def test_in_any_weather(seed: int, weather: Weather, key: bytes | None) -> None:
    run(seed, weather, 150, key)

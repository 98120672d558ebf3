from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import pytest

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Draft
from aiflow.common.codec import Symbols, Tables, decompress
from aiflow.common.encoder import Encoder
from aiflow.common.errors import PayloadMalformed, StorageError
from aiflow.common.metrics import Counters
from aiflow.common.wire import (
    Context,
    Kind,
    Local,
    Packet,
    RefineOrder,
    Why,
    unpack,
    unpack_local,
)
from aiflow.device.budget import BURST_S, Budget
from aiflow.device.compress import Compressor
from aiflow.device.edge_health import EdgeHealth
from aiflow.device.gate import Gate
from aiflow.device.local_caption import Nano
from aiflow.device.outbox import Entry, Record
from aiflow.device.pipeline import MAX_RECENT, Coding, Fallback, Pipeline
from aiflow.device.stages import Stages
from aiflow.device.uplink import Uplink

if TYPE_CHECKING:
    from tests.device.conftest import FakeEncoder, NewFrame

EPOCH_MS = 1_700_000_000_000
CONTEXT = Context("pi", "door", EPOCH_MS)
TABLES = Tables.uniform(6, 3, 5, layers=(4, 6))
"""The toy bundle's."""


class FakeUplink:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.described: list[bytes] = []
        self.full = False
        self.epoch_ms = EPOCH_MS
        self.sessions = 0

    def describe(self, descriptor: bytes) -> None:
        self.described.append(descriptor)

    def put(self, record: Record) -> Entry:
        if self.full:
            raise StorageError("no space left on the disk")
        self.entries.append(Entry(len(self.entries), self.epoch_ms, record))
        return self.entries[-1]

    def begin_session(self) -> None:
        if self.full:
            raise StorageError("no space left on the disk")
        self.sessions += 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def uplink() -> FakeUplink:
    return FakeUplink()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wall_clock() -> Clock:
    return Clock()


@pytest.fixture
def new_pipeline(
    bundle: Bundle,
    encoder: FakeEncoder,
    uplink: FakeUplink,
    counters: Counters,
    clock: Clock,
    wall_clock: Clock,
) -> Callable[..., Pipeline]:
    def make(
        layers: int = 2,
        bytes_s: float | None = None,
        frame_bytes: int | None = None,
        fallback: Fallback | None = None,
    ) -> Pipeline:
        return Pipeline(
            Gate(pixel_mean=2, pixel_peak=12, max_interval_s=30),
            Budget(bytes_s, layers=layers, symbols=1, now=clock.now),
            cast("Encoder", encoder),
            Coding(bundle.tables, bundle.tag, "pi", "door", None, frame_bytes),
            uplink=cast("Uplink", uplink),
            stages=Stages(),
            counters=counters,
            fallback=fallback,
            clock=clock,
            wall_clock=wall_clock,
        )

    return make


@pytest.fixture
def pipeline(new_pipeline: Callable[..., Pipeline]) -> Pipeline:
    return new_pipeline()


def opened(entry: Entry | None) -> Packet:
    """As it would be sent alone."""
    return unpack(packed(entry), CONTEXT)


def packed(entry: Entry | None) -> bytes:
    assert entry is not None
    return Compressor(TABLES, b"\xab\xab", CONTEXT, key_every_s=60.0).alone(entry)


def test_new_frame_becomes_a_key_frame_in_the_outbox(
    pipeline: Pipeline, bundle: Bundle, encoder: FakeEncoder, new_frame: NewFrame
) -> None:
    seen = new_frame(100, captured_at=EPOCH_MS / 1000 + 1.2344)
    packet = opened(pipeline.offer(seen))
    assert (packet.kind, packet.sequence, packet.captured_ms) == (Kind.KEY, 0, 1234)
    assert (packet.bundle_tag, packet.first_layer, packet.layers) == (bundle.tag, 0, 2)
    symbols = decompress(packet.body, bundle.tables, layers=2)
    assert (symbols == encoder.encode(seen.image).symbols).all()


def test_only_so_many_layers_are_sent(
    new_pipeline: Callable[..., Pipeline], bundle: Bundle, new_frame: NewFrame
) -> None:
    packet = opened(new_pipeline(layers=1).offer(new_frame(100)))
    assert packet.layers == 1
    assert len(decompress(packet.body, bundle.tables, layers=1)) == 4


def test_still_scene_costs_no_encoder(
    pipeline: Pipeline, encoder: FakeEncoder, new_frame: NewFrame, clock: Clock
) -> None:
    assert pipeline.offer(new_frame(100)) is not None
    assert pipeline.offer(new_frame(100)) is None
    assert encoder.calls == 1
    clock.now = 30
    assert pipeline.offer(new_frame(100)) is not None, "after the longest interval"
    assert (pipeline.looked_at, pipeline.encoded, pipeline.accepted) == (3, 2, 2)


def test_over_the_budget_no_frame_is_looked_at(
    new_pipeline: Callable[..., Pipeline], encoder: FakeEncoder, new_frame: NewFrame, clock: Clock
) -> None:
    pipeline = new_pipeline(bytes_s=1.0)
    taken = 0
    while pipeline.offer(new_frame(20 * (taken % 2))) is not None:
        taken += 1
    assert encoder.calls == taken == 1, "a frame costs more than the budget of half a minute"
    assert pipeline.stages.take()["gate_ms"] >= 0
    clock.now = BURST_S
    assert pipeline.offer(new_frame(20)) is not None


def test_a_frame_that_would_be_too_long_has_fewer_layers(
    new_pipeline: Callable[..., Pipeline], new_frame: NewFrame
) -> None:
    whole = new_pipeline().offer(new_frame(100))
    fits = new_pipeline(frame_bytes=len(packed(whole))).offer(new_frame(100))
    assert opened(fits).layers == 2
    cut = new_pipeline(frame_bytes=len(packed(whole)) - 1).offer(new_frame(100))
    assert opened(cut).layers == 1
    assert opened(new_pipeline(frame_bytes=1).offer(new_frame(100))).layers == 1


def test_layers_that_went_at_once_are_not_sent_again(
    pipeline: Pipeline, new_frame: NewFrame, counters: Counters
) -> None:
    pipeline.offer(new_frame(100))
    assert pipeline.refine(RefineOrder(0, 1, 1)) is None
    assert pipeline.refine(RefineOrder(0, 0, 2)) is None
    assert counters.value("aiflow_refine_orders_total", answer="sent_before") == 2


def test_order_for_more_than_is_missing_gets_what_is_missing(
    new_pipeline: Callable[..., Pipeline], new_frame: NewFrame
) -> None:
    pipeline = new_pipeline(layers=1)
    pipeline.offer(new_frame(100))
    payload = pipeline.refine(RefineOrder(0, 0, 2))
    assert payload is not None
    packet = unpack(payload, CONTEXT)
    assert (packet.kind, packet.first_layer, packet.layers) == (Kind.REFINE, 1, 1)


def test_over_the_budget_no_order_is_carried_out(
    new_pipeline: Callable[..., Pipeline], new_frame: NewFrame, counters: Counters
) -> None:
    pipeline = new_pipeline(layers=1, bytes_s=1.0)
    pipeline.offer(new_frame(100))
    assert pipeline.refine(RefineOrder(0, 1, 1)) is None
    assert counters.value("aiflow_refine_orders_total", answer="budget") == 1


def test_order_for_layers_of_a_frame_sent(
    new_pipeline: Callable[..., Pipeline], bundle: Bundle, encoder: FakeEncoder, new_frame: NewFrame
) -> None:
    pipeline = new_pipeline(layers=1)
    first = new_frame(100, captured_at=EPOCH_MS / 1000 + 5)
    base = decompress(opened(pipeline.offer(first)).body, bundle.tables)
    pipeline.offer(new_frame(200))
    payload = pipeline.refine(RefineOrder(0, 1, 1))
    assert payload is not None
    packet = unpack(payload, CONTEXT)
    assert (packet.kind, packet.sequence, packet.captured_ms) == (Kind.REFINE, 0, 5000)
    rest = decompress(packet.body, bundle.tables, first_layer=1, base=base)
    assert [*base, *rest] == pytest.approx(encoder.encode(first.image).symbols)


def test_order_for_a_frame_that_is_forgotten_gets_a_new_one(
    new_pipeline: Callable[..., Pipeline], new_frame: NewFrame
) -> None:
    pipeline = new_pipeline(layers=1)
    for number in range(MAX_RECENT + 1):
        assert pipeline.offer(new_frame(20 * (number % 2))) is not None
    assert pipeline.refine(RefineOrder(1, 1, 1)) is not None
    assert pipeline.refine(RefineOrder(0, 1, 1)) is None
    assert pipeline.offer(new_frame(20 * (MAX_RECENT % 2))) is not None


def test_order_for_layers_that_there_are_not(pipeline: Pipeline, new_frame: NewFrame) -> None:
    pipeline.offer(new_frame(100))
    with pytest.raises(PayloadMalformed):
        pipeline.refine(RefineOrder(0, 1, 5))


def test_frame_that_cannot_be_stored_is_counted_and_the_next_one_passes(
    pipeline: Pipeline, uplink: FakeUplink, new_frame: NewFrame, counters: Counters
) -> None:
    uplink.full = True
    with pytest.raises(StorageError):
        pipeline.offer(new_frame(100))
    with pytest.raises(StorageError):
        pipeline.offer(new_frame(100))
    assert counters.value("aiflow_frames_dropped_total", reason="storage") == 2
    uplink.full = False
    assert pipeline.offer(new_frame(100)) is not None


def test_clock_set_back_behind_the_epoch(pipeline: Pipeline, new_frame: NewFrame) -> None:
    assert opened(pipeline.offer(new_frame(100, captured_at=1000.0))).captured_ms == 0


def test_stages_are_measured_until_they_are_taken(pipeline: Pipeline, new_frame: NewFrame) -> None:
    pipeline.offer(new_frame(100))
    taken = pipeline.stages.take()
    assert {"capture_ms", "gate_ms", "encode_ms"} <= set(taken)
    assert all(value >= 0 for value in taken.values())
    assert pipeline.stages.take() == {}


class FakeNano:
    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def caption(self, symbols: Symbols) -> Draft:
        self.shapes.append(symbols.shape)
        return Draft((1, 2), "a red bus", 0.8)


class FakeHealth:
    def __init__(self, *why: Why | None) -> None:
        self._why = list(why)
        self.took: list[float] = []

    def why(self, camera: str, now: float) -> Why | None:
        return self._why.pop(0)

    def captioned(self, seconds: float) -> None:
        self.took.append(seconds)


def fallback(nano: FakeNano, health: FakeHealth, *, always: bool = False) -> Fallback:
    return Fallback(cast("Nano", nano), cast("EdgeHealth", health), always)


def test_out_of_reach_the_device_captions_by_itself(
    new_pipeline: Callable[..., Pipeline], new_frame: NewFrame, bundle: Bundle, counters: Counters
) -> None:
    nano, health = FakeNano(), FakeHealth(None, Why.SILENCE, Why.SILENCE, None)
    pipeline = new_pipeline(layers=1, fallback=fallback(nano, health))
    assert opened(pipeline.offer(new_frame(100))).kind is Kind.KEY
    entry = pipeline.offer(new_frame(100))
    assert entry is not None, "although the picture is the same"
    packet = opened(entry)
    assert packet.kind is Kind.LOCAL
    assert unpack_local(packet.body) == Local(Why.SILENCE, 0.8, "a red bus")
    assert len(health.took) == 1
    assert nano.shapes == [(bundle.tokens, bundle.dims)], "here all tokens cost nothing"
    assert pipeline.offer(new_frame(100)) is None, "a still scene"
    assert opened(pipeline.offer(new_frame(100))).kind is Kind.KEY, "an edge node is back"
    assert counters.value("aiflow_local_captions_total", why="silence") == 1


def test_a_caption_that_cannot_be_stored_is_made_again(
    new_pipeline: Callable[..., Pipeline], new_frame: NewFrame, uplink: FakeUplink
) -> None:
    pipeline = new_pipeline(fallback=fallback(FakeNano(), FakeHealth(), always=True))
    uplink.full = True
    with pytest.raises(StorageError):
        pipeline.offer(new_frame(100))
    uplink.full = False
    assert opened(pipeline.offer(new_frame(100))).kind is Kind.LOCAL


@pytest.mark.parametrize(
    "by_s, words",
    [
        (-400 * 86_400.0, "set by -34560000 s"),  # it was ahead, and is right now
        (-3600.0, "set by -3600 s"),
        (3600.0, "set by +3600 s"),
        (2.1, "set by +2 s"),
    ],
)
def test_a_clock_that_is_set_begins_a_new_session(  # noqa: PLR0917 - fixtures
    pipeline: Pipeline,
    uplink: FakeUplink,
    clock: Clock,
    wall_clock: Clock,
    counters: Counters,
    caplog: pytest.LogCaptureFixture,
    by_s: float,
    words: str,
) -> None:
    assert not pipeline.renewed()
    clock.now += 10
    wall_clock.now += 10 + by_s
    assert pipeline.renewed()
    assert uplink.sessions == 1
    assert words in caplog.text
    assert counters.value("aiflow_clock_steps_total") == 1
    clock.now += 1000
    wall_clock.now += 1000
    assert not pipeline.renewed()


def test_after_a_suspend_a_new_session_begins(
    pipeline: Pipeline, uplink: FakeUplink, wall_clock: Clock
) -> None:
    wall_clock.now += 8 * 3600.0  # the steady clock stood still
    assert pipeline.renewed()
    assert uplink.sessions == 1


def test_a_clock_that_is_kept_right_disturbs_nothing(
    pipeline: Pipeline, uplink: FakeUplink, clock: Clock, wall_clock: Clock
) -> None:
    for _ in range(100):
        clock.now += 10
        wall_clock.now += 10.001
        assert not pipeline.renewed()
    assert uplink.sessions == 0


def test_a_session_that_cannot_begin_is_begun_later(
    pipeline: Pipeline, uplink: FakeUplink, wall_clock: Clock
) -> None:
    wall_clock.now += 60.0
    uplink.full = True
    with pytest.raises(StorageError):
        pipeline.renewed()
    uplink.full = False
    assert pipeline.renewed()

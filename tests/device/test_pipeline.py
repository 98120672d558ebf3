from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pytest

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Draft, Request
from aiflow.common.codec import decompress
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
from aiflow.device.gate import Gate
from aiflow.device.local import Fallback
from aiflow.device.outbox import Entry
from aiflow.device.stream import MAX_RECENT, Coding, Stream

if TYPE_CHECKING:
    from tests.device.conftest import FakeEncoder, NewFrame

EPOCH_MS = 1_700_000_000_000
CONTEXT = Context("pi", "door", EPOCH_MS)


class FakeShelf:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.described: list[bytes] = []
        self.full = False

    def describe(self, descriptor: bytes) -> None:
        self.described.append(descriptor)

    def put(self, build: Callable[[int], bytes]) -> Entry:
        if self.full:
            raise StorageError("no space left on the disk")
        self.entries.append(Entry(len(self.entries), build(len(self.entries))))
        return self.entries[-1]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def shelf() -> FakeShelf:
    return FakeShelf()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_stream(
    bundle: Bundle, encoder: FakeEncoder, shelf: FakeShelf, counters: Counters, clock: Clock
) -> Callable[..., Stream]:
    def make(
        layers: int = 2,
        bytes_s: float | None = None,
        frame_bytes: int | None = None,
        fallback: Fallback | None = None,
    ) -> Stream:
        gate = Gate(pixel_mean=2, pixel_peak=12, max_interval_s=30)
        budget = Budget(bytes_s, layers=layers, symbols=1, now=clock.now)
        coding = Coding(bundle.tables, bundle.tag, CONTEXT, frame_bytes, fallback)
        return Stream(gate, budget, encoder, coding, shelf, counters, clock)

    return make


@pytest.fixture
def stream(new_stream: Callable[..., Stream]) -> Stream:
    return new_stream()


def opened(entry: Entry | None) -> Packet:
    assert entry is not None
    return unpack(entry.payload, CONTEXT)


def test_new_frame_becomes_a_key_frame_in_the_outbox(
    stream: Stream, bundle: Bundle, encoder: FakeEncoder, new_frame: NewFrame
) -> None:
    seen = new_frame(100, captured_at=EPOCH_MS / 1000 + 1.2344)
    packet = opened(stream.offer(seen))
    assert (packet.kind, packet.sequence, packet.captured_ms) == (Kind.KEY, 0, 1234)
    assert (packet.bundle_tag, packet.first_layer, packet.layers) == (bundle.tag, 0, 2)
    symbols = decompress(packet.body, bundle.tables, layers=2)
    assert (symbols == encoder.encode(seen.image).symbols).all()


def test_only_so_many_layers_are_sent(
    new_stream: Callable[..., Stream], bundle: Bundle, new_frame: NewFrame
) -> None:
    packet = opened(new_stream(layers=1).offer(new_frame(100)))
    assert packet.layers == 1
    assert len(decompress(packet.body, bundle.tables, layers=1)) == 4


def test_still_scene_costs_no_encoder(
    stream: Stream, encoder: FakeEncoder, new_frame: NewFrame, clock: Clock
) -> None:
    assert stream.offer(new_frame(100)) is not None
    assert stream.offer(new_frame(100)) is None
    assert encoder.calls == 1
    clock.now = 30
    assert stream.offer(new_frame(100)) is not None, "after the longest interval"
    assert (stream.looked_at, stream.encoded, stream.accepted) == (3, 2, 2)


def test_over_the_budget_no_frame_is_looked_at(
    new_stream: Callable[..., Stream], encoder: FakeEncoder, new_frame: NewFrame, clock: Clock
) -> None:
    stream = new_stream(bytes_s=1.0)
    taken = 0
    while stream.offer(new_frame(20 * (taken % 2))) is not None:
        taken += 1
    assert encoder.calls == taken == 1, "a frame costs more than the budget of half a minute"
    assert stream.stages.take()["gate_ms"] >= 0
    clock.now = BURST_S
    assert stream.offer(new_frame(20)) is not None


def test_a_frame_that_would_be_too_long_has_fewer_layers(
    new_stream: Callable[..., Stream], new_frame: NewFrame
) -> None:
    whole = new_stream().offer(new_frame(100))
    assert whole is not None
    fits = new_stream(frame_bytes=len(whole.payload)).offer(new_frame(100))
    assert opened(fits).layers == 2
    cut = new_stream(frame_bytes=len(whole.payload) - 1).offer(new_frame(100))
    assert opened(cut).layers == 1
    assert opened(new_stream(frame_bytes=1).offer(new_frame(100))).layers == 1


def test_layers_that_went_at_once_are_not_sent_again(
    stream: Stream, new_frame: NewFrame, counters: Counters
) -> None:
    stream.offer(new_frame(100))
    assert stream.refine(RefineOrder(0, 1, 1)) is None
    assert stream.refine(RefineOrder(0, 0, 2)) is None
    assert counters.value("aiflow_refine_orders_total", answer="sent_before") == 2


def test_order_for_more_than_is_missing_gets_what_is_missing(
    new_stream: Callable[..., Stream], new_frame: NewFrame
) -> None:
    stream = new_stream(layers=1)
    stream.offer(new_frame(100))
    payload = stream.refine(RefineOrder(0, 0, 2))
    assert payload is not None
    packet = unpack(payload, CONTEXT)
    assert (packet.kind, packet.first_layer, packet.layers) == (Kind.REFINE, 1, 1)


def test_over_the_budget_no_order_is_carried_out(
    new_stream: Callable[..., Stream], new_frame: NewFrame, counters: Counters
) -> None:
    stream = new_stream(layers=1, bytes_s=1.0)
    stream.offer(new_frame(100))
    assert stream.refine(RefineOrder(0, 1, 1)) is None
    assert counters.value("aiflow_refine_orders_total", answer="budget") == 1


def test_order_for_layers_of_a_frame_sent(
    new_stream: Callable[..., Stream], bundle: Bundle, encoder: FakeEncoder, new_frame: NewFrame
) -> None:
    stream = new_stream(layers=1)
    first = new_frame(100, captured_at=EPOCH_MS / 1000 + 5)
    base = decompress(opened(stream.offer(first)).body, bundle.tables)
    stream.offer(new_frame(200))
    payload = stream.refine(RefineOrder(0, 1, 1))
    assert payload is not None
    packet = unpack(payload, CONTEXT)
    assert (packet.kind, packet.sequence, packet.captured_ms) == (Kind.REFINE, 0, 5000)
    rest = decompress(packet.body, bundle.tables, first_layer=1, base=base)
    assert [*base, *rest] == pytest.approx(encoder.encode(first.image).symbols)


def test_order_for_a_frame_that_is_forgotten_gets_a_new_one(
    new_stream: Callable[..., Stream], new_frame: NewFrame
) -> None:
    stream = new_stream(layers=1)
    for number in range(MAX_RECENT + 1):
        assert stream.offer(new_frame(20 * (number % 2))) is not None
    assert stream.refine(RefineOrder(1, 1, 1)) is not None
    assert stream.refine(RefineOrder(0, 1, 1)) is None
    assert stream.offer(new_frame(20 * (MAX_RECENT % 2))) is not None


def test_order_for_layers_that_there_are_not(stream: Stream, new_frame: NewFrame) -> None:
    stream.offer(new_frame(100))
    with pytest.raises(PayloadMalformed):
        stream.refine(RefineOrder(0, 1, 5))


def test_frame_that_cannot_be_stored_is_counted_and_the_next_one_passes(
    stream: Stream, shelf: FakeShelf, new_frame: NewFrame, counters: Counters
) -> None:
    shelf.full = True
    with pytest.raises(StorageError):
        stream.offer(new_frame(100))
    with pytest.raises(StorageError):
        stream.offer(new_frame(100))
    assert counters.value("aiflow_frames_dropped_total", reason="storage") == 2
    shelf.full = False
    assert stream.offer(new_frame(100)) is not None


def test_clock_set_back_behind_the_epoch(stream: Stream, new_frame: NewFrame) -> None:
    assert opened(stream.offer(new_frame(100, captured_at=1000.0))).captured_ms == 0


def test_stages_are_measured_until_they_are_taken(stream: Stream, new_frame: NewFrame) -> None:
    stream.offer(new_frame(100))
    taken = stream.stages.take()
    assert {"capture_ms", "gate_ms", "encode_ms", "compress_ms", "store_ms"} <= set(taken)
    assert all(value >= 0 for value in taken.values())
    assert stream.stages.take() == {}


class FakeNano:
    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        self.shapes += [request.symbols.shape for request in batch]
        return [Draft((1, 2), "a red bus", 0.8) for _ in batch]


def test_out_of_reach_the_device_captions_by_itself(
    new_stream: Callable[..., Stream], new_frame: NewFrame, bundle: Bundle, counters: Counters
) -> None:
    nano, why = FakeNano(), [None, Why.SILENCE, Why.SILENCE, None]
    took: list[float] = []
    stream = new_stream(layers=1, fallback=Fallback(nano, lambda: why.pop(0), took.append))
    assert opened(stream.offer(new_frame(100))).kind is Kind.KEY
    entry = stream.offer(new_frame(100))
    assert entry is not None, "although the picture is the same"
    packet = opened(entry)
    assert packet.kind is Kind.LOCAL
    assert unpack_local(packet.body) == Local(Why.SILENCE, 0.8, "a red bus")
    assert len(took) == 1
    assert nano.shapes == [(bundle.tokens, bundle.dims)], "here all tokens cost nothing"
    assert stream.offer(new_frame(100)) is None, "a still scene"
    assert opened(stream.offer(new_frame(100))).kind is Kind.KEY, "an edge node is back"
    assert counters.value("aiflow_local_captions_total", why="silence") == 1


def test_a_caption_that_cannot_be_stored_is_made_again(
    new_stream: Callable[..., Stream], new_frame: NewFrame, shelf: FakeShelf
) -> None:
    stream = new_stream(fallback=Fallback(FakeNano(), lambda: Why.ASKED, lambda _: None))
    shelf.full = True
    with pytest.raises(StorageError):
        stream.offer(new_frame(100))
    shelf.full = False
    assert opened(stream.offer(new_frame(100))).kind is Kind.LOCAL

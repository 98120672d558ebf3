"""Payloads for the fuzzer: valid ones of every kind, and what an attacker might make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.symbols import Decoded
from aiflow.common.wire import (
    MAX_PAYLOAD_BYTES,
    Context,
    Header,
    Kind,
    Local,
    Packet,
    Why,
    pack,
    pack_local,
)

AT_HAND: Final = 64
"""So many frames the receiver remembers, for deltas and refinements."""
_EPOCH_MS: Final = 1_767_225_600_000
_HEADER_BYTES: Final = 10
"""About; what comes after it is body."""
_LONGEST: Final = 96
_LONG_SHARE: Final = 0.05
"""Of the random ones so many are as long as a payload may be, and a little longer."""

Frames = Sequence[Symbols]


@dataclass(frozen=True, slots=True)
class Valid:
    """A payload that its receiver accepts."""

    payload: bytes
    context: Context
    reference: Header | None = None
    """Of a delta."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """A payload that nobody should have sent; `fits` tells whether its trailer was made to fit."""

    payload: bytes
    context: Context
    fits: bool


def typical(tables: Tables, rng: np.random.Generator) -> Symbols:
    """A frame (K, D) as likely as the tables say that it is."""
    values: list[int] = []
    for step in tables.steps:
        row = step.offset + sum(stride * values[parent] for parent, stride in step.parents)
        ends = tables.counts[row + 1 : row + step.levels + 1]
        values.append(int(np.searchsorted(ends, rng.integers(ends[-1]), side="right")))
    return np.array(values, np.uint8).reshape(tables.tokens, tables.dims)


def at_hand(
    frames: Frames, tables: Tables, tag: bytes
) -> tuple[tuple[Header, ...], dict[int, Decoded]]:
    """What a receiver remembers of the first frames: their headers and their symbols."""
    some = frames[:AT_HAND]
    headers = tuple(_header(number, tables, tag) for number in range(len(some)))
    return headers, {number: Decoded(frame, frame) for number, frame in enumerate(some)}


def _header(number: int, tables: Tables, tag: bytes) -> Header:
    return Header(tag, number, number, len(tables.layers))


def payloads(frames: Frames, tables: Tables, tag: bytes, rng: np.random.Generator) -> list[Valid]:
    """One payload of each frame, all kinds and both trailers in turn."""
    contexts = (
        Context("porch", "door", _EPOCH_MS),
        Context("porch", "door", _EPOCH_MS, bytes(range(32))),
    )
    makers = (_key, _delta, _refine, _local, _image)
    made = []
    for index, frame in enumerate(frames):
        make = makers[index % len(makers)]
        packet = make(frame, frames, tables, tag, int(rng.integers(2**20)))
        context = contexts[index // len(makers) % 2]
        made.append(Valid(pack(packet, context), context, packet.reference))
    return made


def hostile(valid: Sequence[Valid], rng: np.random.Generator) -> Hostile:
    """A random or a mutated payload; half of them with the trailer that fits."""
    one = valid[int(rng.integers(len(valid)))]
    content = bytearray(one.payload[: -one.context.trailer_bytes])
    at = int(rng.integers(len(content)))
    match int(rng.integers(6)):
        case 0:
            longest = MAX_PAYLOAD_BYTES + 9 if rng.random() < _LONG_SHARE else _LONGEST
            content = bytearray(rng.bytes(int(rng.integers(longest))))
        case 1:
            for _ in range(int(rng.integers(1, 9))):
                content[int(rng.integers(len(content)))] = int(rng.integers(256))
        case 2:
            del content[at:]
        case 3:
            content[at:at] = rng.bytes(int(rng.integers(1, 200)))
        case 4:
            other = valid[int(rng.integers(len(valid)))].payload
            content[at:] = other[int(rng.integers(len(other))) :]
        case _:
            content[_HEADER_BYTES:] = rng.bytes(int(rng.integers(40)))
    if rng.random() < 0.5:
        trailer = one.context.trailer(bytes(content), one.reference)
        return Hostile(bytes(content) + trailer, one.context, fits=True)
    made_up = rng.bytes(one.context.trailer_bytes)
    return Hostile(bytes(content) + made_up, one.context, fits=False)


def _key(frame: Symbols, _frames: Frames, tables: Tables, tag: bytes, captured_ms: int) -> Packet:
    """Some of its layers."""
    layers = 1 + captured_ms % len(tables.layers)
    body = compress(frame, tables, layers=layers)
    return Packet(Kind.KEY, tag, captured_ms, captured_ms, body, 0, layers)


def _delta(frame: Symbols, frames: Frames, tables: Tables, tag: bytes, captured_ms: int) -> Packet:
    """Against one of the frames at hand, most of whose tokens stay."""
    number = captured_ms % min(len(frames), AT_HAND)
    mixed = frames[number].copy()
    mixed[:: 1 + captured_ms % 5] = frame[:: 1 + captured_ms % 5]
    reference = _header(number, tables, tag)
    layers = reference.layers
    body = compress(mixed, tables, layers=layers, reference=frames[number])
    sequence = number + 1 + captured_ms % 300
    return Packet(Kind.DELTA, tag, sequence, captured_ms + number, body, 0, layers, reference)


def _refine(
    _frame: Symbols, frames: Frames, tables: Tables, tag: bytes, captured_ms: int
) -> Packet:
    """The layers after the first, of a frame at hand."""
    sequence, layers = captured_ms % min(len(frames), AT_HAND), len(tables.layers)
    if layers == 1:
        return _key(frames[sequence], frames, tables, tag, captured_ms)
    body = compress(frames[sequence], tables, first_layer=1, layers=layers - 1)
    return Packet(Kind.REFINE, tag, sequence, captured_ms, body, 1, layers - 1)


def _local(
    _frame: Symbols, _frames: Frames, _tables: Tables, tag: bytes, captured_ms: int
) -> Packet:
    local = Local(Why.ASKED, 0.9, f"a red bus waits on the left {captured_ms}")
    body = pack_local(local)
    return Packet(Kind.LOCAL, tag, captured_ms, captured_ms, body)


def _image(
    _frame: Symbols, _frames: Frames, _tables: Tables, tag: bytes, captured_ms: int
) -> Packet:
    """What begins as a JPEG does; nothing here looks further."""
    body = b"\xff\xd8\xff" + captured_ms.to_bytes(8, "big")
    return Packet(Kind.IMAGE, tag, captured_ms, captured_ms, body)

"""The other binary messages: receipts, refine orders, escalations.

    receipt     1|4, 1 byte delay, then 1 to 64 ranges: varint start (the first) or gap (later),
                varint length - 1
    refine      1|5, 1 byte layer map, varint sequence
    key frames  1|5, 1 byte 0
    escalation  1|6, 1 byte trailer length, varint deadline ms, varint epoch ms, device, camera,
                varint n, n payloads, varint m, m draft tokens; names and payloads have a varint
                length in front

They carry no checksum of their own: MQTT runs over TCP, and what they say is harmless when late.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from aiflow.common.errors import PayloadMalformed
from aiflow.common.fields import Reader, first_byte, name, varint
from aiflow.common.payload import (
    CRC_BYTES,
    EPOCH_LIMIT_MS,
    MAC_BYTES,
    MAX_PAYLOAD_BYTES,
    SEQUENCE_LIMIT,
    Context,
    Packet,
    layer_map,
    read_layer_map,
    unpack,
    unpack_unverified,
)

MAX_RANGES: Final = 64
MAX_RECEIPT_BYTES: Final = 2 + MAX_RANGES * 12
DELAY_STEPS: Final = 16
"""A delay's byte is so many times the binary logarithm of its milliseconds and one."""
MAX_ESCALATED_PAYLOADS: Final = 8
MAX_DRAFT_TOKENS: Final = 256
MAX_ESCALATION_BYTES: Final = 36_864
DEADLINE_LIMIT_MS: Final = 2**32
TOKEN_LIMIT: Final = 2**31

_RECEIPT: Final = 4
_REFINE_ORDER: Final = 5
_ESCALATION: Final = 6
_KEY_FRAMES: Final = 0
"""In the place of a layer map."""


@dataclass(frozen=True, slots=True)
class RefineOrder:
    """The edge asks for more of a frame: its missing layers."""

    sequence: int
    first_layer: int
    layers: int


@dataclass(frozen=True, slots=True)
class KeyFrameOrder:
    """The edge asks for key frames, as it cannot read a delta."""


@dataclass(frozen=True, slots=True)
class Escalation:
    """The edge asks a cloud worker to finish a caption.

    `payloads` (1 to 8) are those that the device keeps of the frame: its key payload, then its
    refinements, each ending in `trailer` bytes of check. `draft` holds the edge's own tokens (at
    most 256) and `deadline_ms` what is left of the time for an answer, counted from arrival.
    """

    device: str
    camera: str
    epoch_ms: int
    deadline_ms: int
    payloads: tuple[bytes, ...]
    draft: tuple[int, ...]
    trailer: int = CRC_BYTES

    def packets(self) -> tuple[Packet, ...]:
        """The payloads taken apart; PayloadError if one is wrong.

        A CRC is checked again. A MAC cannot be (the cloud has no device keys); the edge did.
        """
        if self.trailer != CRC_BYTES:
            return tuple(unpack_unverified(payload, self.trailer) for payload in self.payloads)
        context = Context(self.device, self.camera, self.epoch_ms)
        return tuple(unpack(payload, context) for payload in self.payloads)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Frames whose captions are published, and how busy the edge node is."""

    ranges: list[range]
    """Of sequences, ascending and apart. One may be huge: compare, do not enumerate."""
    delay_s: float = 0.0
    """From a frame's arrival to its caption at present; known to within some percent."""


def pack_receipt(sequences: Iterable[int], delay_s: float = 0.0) -> bytes:
    """Put one receipt together; PayloadMalformed for none or for over 64 separate ranges."""
    return _receipt(_ranges(sequences), delay_s)


def pack_receipts(sequences: Iterable[int], delay_s: float = 0.0) -> list[bytes]:
    """As many receipts as the sequences need: none for no sequence, usually one."""
    ranges = _ranges(sequences)
    starts = range(0, len(ranges), MAX_RANGES)
    return [_receipt(ranges[start : start + MAX_RANGES], delay_s) for start in starts]


def unpack_receipt(payload: bytes) -> Receipt:
    """Take a receipt apart; raises a PayloadError."""
    reader = Reader.of(payload, _RECEIPT, MAX_RECEIPT_BYTES, "receipt")
    delay_s = (2.0 ** (reader.byte("delay") / DELAY_STEPS) - 1.0) / 1e3
    ranges: list[range] = []
    stop = 0
    while not ranges or not reader.at_end():
        if len(ranges) == MAX_RANGES:
            raise PayloadMalformed(f"receipt of over {MAX_RANGES} ranges")
        start = stop + reader.varint(SEQUENCE_LIMIT - stop, "range start", 1 if ranges else 0)
        stop = start + 1 + reader.varint(SEQUENCE_LIMIT - start, "range length")
        ranges.append(range(start, stop))
    return Receipt(ranges, delay_s)


def pack_refine_order(order: RefineOrder | KeyFrameOrder) -> bytes:
    """Put an order together; PayloadMalformed if its layers fit no layer map."""
    if isinstance(order, KeyFrameOrder):
        return first_byte(_REFINE_ORDER) + bytes([_KEY_FRAMES])
    wanted = layer_map(order.first_layer, order.layers)
    sequence = varint(order.sequence, SEQUENCE_LIMIT, "sequence")
    return first_byte(_REFINE_ORDER) + bytes([wanted]) + sequence


def unpack_refine_order(payload: bytes) -> RefineOrder | KeyFrameOrder:
    """Take an order apart; raises a PayloadError."""
    reader = Reader.of(payload, _REFINE_ORDER, 16, "refine order")
    wanted = reader.byte("wanted layers")
    order: RefineOrder | KeyFrameOrder = KeyFrameOrder()
    if wanted != _KEY_FRAMES:
        first_layer, layers = read_layer_map(wanted)
        order = RefineOrder(reader.varint(SEQUENCE_LIMIT, "sequence"), first_layer, layers)
    reader.end()
    return order


def pack_escalation(escalation: Escalation) -> bytes:
    """Put an escalation together; PayloadMalformed if something in it is out of bounds."""
    _check_trailer(escalation.trailer)
    parts = [
        first_byte(_ESCALATION),
        bytes([escalation.trailer]),
        varint(escalation.deadline_ms, DEADLINE_LIMIT_MS, "deadline"),
        varint(escalation.epoch_ms, EPOCH_LIMIT_MS, "epoch"),
        name(escalation.device, "device"),
        name(escalation.camera, "camera"),
        _count(escalation.payloads, 1, MAX_ESCALATED_PAYLOADS, "payloads"),
    ]
    for payload in escalation.payloads:
        parts += [varint(len(payload), MAX_PAYLOAD_BYTES + 1, "payload length"), payload]
    return b"".join(parts) + _tokens(escalation.draft)


def unpack_escalation(payload: bytes) -> Escalation:
    """Take an escalation apart, its payloads unread (`Escalation.packets`); PayloadError."""
    reader = Reader.of(payload, _ESCALATION, MAX_ESCALATION_BYTES, "escalation")
    trailer = reader.byte("trailer length")
    _check_trailer(trailer)
    deadline_ms = reader.varint(DEADLINE_LIMIT_MS, "deadline")
    epoch_ms = reader.varint(EPOCH_LIMIT_MS, "epoch")
    device, camera = reader.name("device"), reader.name("camera")
    payloads = [
        reader.take(reader.varint(MAX_PAYLOAD_BYTES + 1, "payload length"), "payload")
        for _ in range(reader.varint(MAX_ESCALATED_PAYLOADS + 1, "number of payloads", 1))
    ]
    draft = _read_tokens(reader)
    reader.end()
    return Escalation(device, camera, epoch_ms, deadline_ms, tuple(payloads), draft, trailer)


def _tokens(tokens: Sequence[int]) -> bytes:
    count = _count(tokens, 0, MAX_DRAFT_TOKENS, "draft tokens")
    return count + b"".join(varint(token, TOKEN_LIMIT, "draft token") for token in tokens)


def _read_tokens(reader: Reader) -> tuple[int, ...]:
    count = reader.varint(MAX_DRAFT_TOKENS + 1, "number of draft tokens")
    return tuple(reader.varint(TOKEN_LIMIT, "draft token") for _ in range(count))


def _ranges(sequences: Iterable[int]) -> list[range]:
    ranges: list[range] = []
    for sequence in sorted(set(sequences)):
        if ranges and ranges[-1].stop == sequence:
            ranges[-1] = range(ranges[-1].start, sequence + 1)
        else:
            ranges.append(range(sequence, sequence + 1))
    return ranges


def _receipt(ranges: Sequence[range], delay_s: float) -> bytes:
    if not 1 <= len(ranges) <= MAX_RANGES:
        raise PayloadMalformed(f"receipt of {len(ranges)} ranges; 1 to {MAX_RANGES} fit")
    delay = round(DELAY_STEPS * math.log2(1.0 + 1e3 * max(delay_s, 0.0)))
    parts, stop = [first_byte(_RECEIPT), bytes([min(delay, 255)])], 0
    for run in ranges:
        parts.append(varint(run.start - stop, SEQUENCE_LIMIT - stop, "range start"))
        parts.append(varint(len(run) - 1, SEQUENCE_LIMIT - run.start, "range length"))
        stop = run.stop
    return b"".join(parts)


def _count(items: Sequence[object], least: int, most: int, what: str) -> bytes:
    if not least <= len(items) <= most:
        raise PayloadMalformed(f"{len(items)} {what}; {least} to {most} fit")
    return varint(len(items), most + 1, f"number of {what}")


def _check_trailer(trailer: int) -> None:
    if trailer not in {CRC_BYTES, MAC_BYTES}:
        raise PayloadMalformed(f"trailer of {trailer} bytes")

"""Frames of one stream that later ones refer to, as every reader of a stream keeps them. A leaf.

A delta names an earlier frame, a refinement adds to its own. Who reads a stream must decode all of
it in the order in which it comes, and remember as much as a device may refer to.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from aiflow.common.codec import Tables
from aiflow.common.symbols import Decoded, decode
from aiflow.common.wire import MAX_ESCALATED_PAYLOADS, Header, Kind, Packet

MAX_REFERENCES: Final = 64
"""Frames kept per stream for deltas and refinements: a device's window of unreceipted ones."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A frame that others may refer to."""

    header: Header
    decoded: Decoded
    payloads: tuple[bytes, ...]
    """That carried it."""


@dataclass(slots=True, kw_only=True)
class Frames:
    """The latest frames of one stream; used by one thread."""

    frames: OrderedDict[int, Seen] = field(default_factory=OrderedDict)
    """The latest by sequence, those that came or were referred to last at the end."""
    decoded: dict[int, Decoded] = field(default_factory=dict)
    """The same, without their payloads."""

    def take(self, packet: Packet, payload: bytes, tables: Tables) -> Seen:
        """Decode a packet, not a local one, and remember its frame for those that refer to it.

        Raises ReferenceMissing and PayloadMalformed, and then nothing has changed.
        """
        decoded = decode(packet, tables, self.decoded)
        if packet.kind is Kind.REFINE:
            before = self.frames[packet.sequence]
            # One more than can be escalated is kept: enough to see that it cannot.
            payloads = (*before.payloads, payload)[: MAX_ESCALATED_PAYLOADS + 1]
            frame = Seen(before.header, decoded, payloads)
        else:
            frame = Seen(packet.header, decoded, (payload,))
        if packet.reference is not None:  # before a frame goes to make room: it is not that one
            self.used(packet.reference.sequence)
        self.remember(frame)
        return frame

    def remember(self, frame: Seen) -> None:
        """Keep a frame for others to refer to; beyond `MAX_REFERENCES` one goes that none uses."""
        sequence = frame.header.sequence
        self.frames[sequence] = frame
        self.frames.move_to_end(sequence)
        self.decoded[sequence] = frame.decoded
        if len(self.frames) > MAX_REFERENCES:
            oldest, _ = self.frames.popitem(last=False)
            del self.decoded[oldest]

    def used(self, sequence: int) -> None:
        """A device goes on referring to a frame until a newer one has a receipt."""
        self.frames.move_to_end(sequence)

    def references(self) -> Iterator[Header]:
        """What a delta may refer to, the latest first."""
        return (frame.header for frame in reversed(self.frames.values()))

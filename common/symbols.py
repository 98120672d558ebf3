"""From a packet to the symbols of its frame: what edge and cloud must do alike. Opens nothing.

key     body                                     -> symbols
delta   body + own symbols of its reference      -> symbols
refine  body + symbols of the same frame so far  -> symbols
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from aiflow.common.codec import Symbols, Tables, compress, decompress
from aiflow.common.errors import PayloadMalformed, ReferenceMissing
from aiflow.common.wire import Context, Header, Kind, Packet, pack

__all__ = ["Decoded", "Symbols", "decode", "key_payload"]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A frame as far as its payloads are here."""

    own: Symbols
    """(k, D), as its key or delta carried it: what the delta of another frame refers to."""
    symbols: Symbols
    """(k, D), with the layers that came later: what is captioned, and what a refine adds to."""


def decode(packet: Packet, tables: Tables, at_hand: Mapping[int, Decoded]) -> Decoded:
    """Decode a packet, uint8 (k, D): all tokens of its frame up to its last layer.

    `at_hand` maps sequences to frames. Only one end may have the layers that came later, so a
    delta never refers to them. Raises ReferenceMissing when the frame that is needed is not at
    hand, and PayloadMalformed when the body is not one of this bundle's.
    """
    if packet.kind in {Kind.LOCAL, Kind.IMAGE}:
        raise PayloadMalformed(f"a frame that came as {packet.kind.name} has no symbols")
    if packet.kind is Kind.REFINE:
        return _refined(packet, tables, _needed(packet.sequence, at_hand))
    reference = None
    if packet.reference is not None:
        reference = _needed(packet.reference.sequence, at_hand).own
    own = decompress(packet.body, tables, layers=packet.layers, reference=reference)
    return Decoded(own, own)


def key_payload(header: Header, own: Symbols, tables: Tables, context: Context) -> bytes:
    """The frame's key payload, for one that came as a delta.

    Bodies are canonical, so these are, byte for byte, those that the device keeps of the frame.
    """
    body = compress(own, tables, layers=header.layers)
    packet = Packet(
        kind=Kind.KEY,
        bundle_tag=header.bundle_tag,
        sequence=header.sequence,
        captured_ms=header.captured_ms,
        body=body,
        layers=header.layers,
    )
    return pack(packet, context)


def _needed(sequence: int, at_hand: Mapping[int, Decoded]) -> Decoded:
    frame = at_hand.get(sequence)
    if frame is None:
        raise ReferenceMissing(f"frame {sequence} is needed and not at hand")
    return frame


def _refined(packet: Packet, tables: Tables, frame: Decoded) -> Decoded:
    further = decompress(
        packet.body,
        tables,
        first_layer=packet.first_layer,
        layers=packet.layers,
        base=frame.symbols,
    )
    base = frame.symbols[: tables.layers[packet.first_layer - 1]]
    return Decoded(frame.own, np.concatenate([base, further]))

"""From a packet to the symbols of its frame: what edge and cloud must do alike. Opens nothing.

key     body                                     -> symbols
delta   body + symbols of its reference          -> symbols
refine  body + symbols of the same frame so far  -> symbols
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aiflow.common.codec import Symbols, Tables, decompress
from aiflow.common.errors import PayloadMalformed, ReferenceMissing
from aiflow.common.wire import Kind, Packet

__all__ = ["Symbols", "reference_of", "symbols_of"]


def reference_of(packet: Packet) -> int | None:
    """The sequence whose symbols are needed to decode a packet; None for one that stands alone."""
    return packet.sequence if packet.kind is Kind.REFINE else packet.reference


def symbols_of(packet: Packet, tables: Tables, at_hand: Mapping[int, Symbols]) -> Symbols:
    """Decode a packet into uint8 (k, D): all tokens of its frame up to its last layer.

    `at_hand` maps sequences to the symbols of frames. Raises ReferenceMissing when the one that is
    needed is not among them, and PayloadMalformed when the body is not one of this bundle's.
    """
    if packet.kind is Kind.LOCAL:
        raise PayloadMalformed(f"frame {packet.sequence} holds a caption, not symbols")
    needed = reference_of(packet)
    earlier = None if needed is None else at_hand.get(needed)
    if needed is not None and earlier is None:
        raise ReferenceMissing(
            f"frame {packet.sequence} needs frame {needed}, which is not at hand"
        )
    if packet.kind is not Kind.REFINE or earlier is None:
        return decompress(packet.body, tables, layers=packet.layers, reference=earlier)
    further = decompress(
        packet.body,
        tables,
        first_layer=packet.first_layer,
        layers=packet.layers,
        base=earlier,
    )
    return np.concatenate([earlier[: tables.layers[packet.first_layer - 1]], further])

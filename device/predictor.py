"""Prediction over time: which frames go as deltas, against which. Pure logic on a given clock.

    outbox: key payload ─> symbols ─┬─> delta against the reference, if that is shorter
                                    └─> kept until its receipt; then perhaps the next reference

The outbox holds every frame as a key payload, which stands alone. A delta is only a shorter way to
send it the first time; whatever is sent again goes as it is kept. So custody does not depend on
what the edge node remembers, and neither end writes references to disk.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiflow.common.codec import Symbols, Tables, compress, decompress
from aiflow.common.errors import PayloadError
from aiflow.common.wire import Context, Header, Kind, Packet, pack, unpack

MAX_FRAMES: Final = 64
"""Most frames remembered without a receipt: the greatest window of a sender."""


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    header: Header
    symbols: Symbols


class Predictor:
    """One camera's prediction; used by one thread."""

    def __init__(self, tables: Tables, context: Context, *, key_every_s: float) -> None:
        self._tables = tables
        self._context = context
        self._key_every_s = key_every_s
        self._key_at = -math.inf
        self._key_sequence = -1
        """Of the latest key frame with which readers may begin."""
        self._reference: _Frame | None = None
        self._unreceipted: OrderedDict[int, _Frame] = OrderedDict()

    def shorten(self, kept: bytes, now: float) -> bytes:
        """What to send of a frame for the first time: a delta, or its key payload as it is kept.

        A key payload is sent when there is no reference, when none was sent for `key_every_s`,
        and when the delta would not be shorter.
        """
        frame = self._read(kept)
        if frame is None:
            return kept
        due = now - self._key_at >= self._key_every_s
        if due and self._reference is not None:
            # Who begins to read here must be able to go on: what came before is no reference any
            # more, and neither is what is coded against it until this frame has its receipt.
            self._unreceipted.clear()
            self._key_sequence = frame.header.sequence
        if due or self._reference is None:
            self._remember(frame)
            self._key_at = now
            return kept
        delta = self._delta(frame)
        if delta is None or len(delta) >= len(kept):
            self._remember(frame)  # it stands alone: everybody can read it
            return kept
        if self._joined:
            self._remember(frame)
        return delta

    def acknowledged(self, sequences: Iterable[int]) -> None:
        """The edge node has captioned them: the newest becomes the reference."""
        frames = [self._unreceipted.pop(one) for one in sequences if one in self._unreceipted]
        if self._reference is not None:
            frames.append(self._reference)
        self._reference = max(frames, key=lambda frame: frame.header.sequence, default=None)

    def reset(self) -> None:
        """Whoever listens may know nothing of the past: key frames, until one has a receipt."""
        self._reference = None
        self._unreceipted.clear()

    @property
    def _joined(self) -> bool:
        """Whether the reference can be read by those who began with the latest key frame."""
        reference = self._reference
        return reference is not None and reference.header.sequence >= self._key_sequence

    def _read(self, kept: bytes) -> _Frame | None:
        """None for what is no key payload; if it is broken, the edge node will count it."""
        try:
            packet = unpack(kept, self._context)
            if packet.kind is not Kind.KEY:
                return None
            symbols = decompress(packet.body, self._tables, layers=packet.layers)
        except PayloadError:
            return None
        return _Frame(packet.header, symbols)

    def _delta(self, frame: _Frame) -> bytes | None:
        """None if there is no reference that fits."""
        header, reference = frame.header, self._reference
        if (
            reference is None
            or reference.header.layers != header.layers
            or reference.header.sequence >= header.sequence
            or reference.header.captured_ms > header.captured_ms
        ):
            return None
        body = compress(
            frame.symbols, self._tables, layers=header.layers, reference=reference.symbols
        )
        packet = Packet(
            kind=Kind.DELTA,
            bundle_tag=header.bundle_tag,
            sequence=header.sequence,
            captured_ms=header.captured_ms,
            body=body,
            layers=header.layers,
            reference=reference.header,
        )
        return pack(packet, self._context)

    def _remember(self, frame: _Frame) -> None:
        self._unreceipted[frame.header.sequence] = frame
        if len(self._unreceipted) > MAX_FRAMES:
            self._unreceipted.popitem(last=False)

"""Symbols to payloads: which frames go as deltas, against which. Pure logic on a given clock.

    symbols ──┬─> delta against the newest frame with a receipt, if that is shorter
              └─> key payload, which stands alone

A delta is only a shorter way to send a frame the first time; whatever is sent again goes as a key
payload. So custody does not depend on what the edge node remembers, and neither end writes
references to disk.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

import numpy as np

from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.mean import Mean
from aiflow.common.wire import Context, Header, Kind, Packet, pack
from aiflow.device.outbox import Entry

MAX_FRAMES: Final = 64
"""Most frames remembered without a receipt: the greatest window of an uplink."""


class Compressor:
    """One session's frames as payloads; used by one thread at a time."""

    def __init__(
        self, tables: Tables, bundle_tag: bytes, context: Context, *, key_every_s: float
    ) -> None:
        """Without prediction, `key_every_s` = 0, all frames are key frames."""
        self._tables = tables
        self._tag = bundle_tag
        self._context = context
        self._key_every_s = key_every_s
        self._key_at = -math.inf
        self._key_sequence = -1
        """Of the latest key frame with which readers may begin."""
        self._key_bytes = Mean()
        self._reference: Entry | None = None
        self._unreceipted: OrderedDict[int, Entry] = OrderedDict()

    def first(self, entry: Entry, now: float) -> tuple[bytes, bool]:
        """What to send of a frame for the first time, and whether that is a delta.

        A key payload is sent when there is no reference, when none was sent for `key_every_s`,
        and when the delta would not be shorter. A delta that is shorter than key payloads usually
        are is not held against this frame's own, which would have to be coded for that.
        """
        if entry.record.kind is not Kind.KEY:
            return self.alone(entry), False
        due = now - self._key_at >= self._key_every_s
        if due and self._reference is not None:
            # Who begins to read here must be able to go on: what came before is no reference any
            # more, and neither is what is coded against it until this frame has its receipt.
            self._unreceipted.clear()
            self._key_sequence = entry.sequence
        if due or self._reference is None:
            self._remember(entry)
            self._key_at = now
            return self.alone(entry), False
        delta = self._delta(entry)
        if delta is None or len(delta) >= self._key_bytes.known():
            key = self.alone(entry)
            if delta is None or len(delta) >= len(key):
                self._remember(entry)  # it stands alone: everybody can read it
                return key, False
        if self._joined:
            self._remember(entry)
        return delta, True

    def alone(self, entry: Entry) -> bytes:
        """A frame as a payload that needs no other frame."""
        record = entry.record
        if record.kind is None:
            return record.body
        if record.kind is not Kind.KEY:
            return self._packed(entry, record.kind, record.body)
        body = compress(self._symbols(entry), self._tables, layers=record.layers)
        payload = self._packed(entry, Kind.KEY, body)
        self._key_bytes.add(len(payload))
        return payload

    def receipted(self, sequences: Iterable[int]) -> None:
        """The edge node has captioned them: the newest becomes the reference."""
        frames = [self._unreceipted.pop(one) for one in sequences if one in self._unreceipted]
        if self._reference is not None:
            frames.append(self._reference)
        self._reference = max(frames, key=lambda frame: frame.sequence, default=None)

    def reset(self) -> None:
        """Whoever listens may know nothing of the past: key frames, until one has a receipt."""
        self._reference = None
        self._unreceipted.clear()

    @property
    def _joined(self) -> bool:
        """Whether the reference can be read by those who began with the latest key frame."""
        reference = self._reference
        return reference is not None and reference.sequence >= self._key_sequence

    def _delta(self, entry: Entry) -> bytes | None:
        """None if there is no reference that fits."""
        record, reference = entry.record, self._reference
        if (
            reference is None
            or reference.record.layers != record.layers
            or reference.sequence >= entry.sequence
            or reference.record.captured_ms > record.captured_ms
        ):
            return None
        body = compress(
            self._symbols(entry),
            self._tables,
            layers=record.layers,
            reference=self._symbols(reference),
        )
        header = Header(
            self._tag,
            reference.sequence,
            reference.record.captured_ms,
            reference.record.layers,
        )
        return self._packed(entry, Kind.DELTA, body, header)

    def _symbols(self, entry: Entry) -> Symbols:
        return np.frombuffer(entry.record.body, np.uint8).reshape(-1, self._tables.dims)

    def _packed(
        self, entry: Entry, kind: Kind, body: bytes, reference: Header | None = None
    ) -> bytes:
        record = entry.record
        packet = Packet(
            kind=kind,
            bundle_tag=self._tag,
            sequence=entry.sequence,
            captured_ms=record.captured_ms,
            body=body,
            layers=record.layers,
            reference=reference,
        )
        return pack(packet, self._context)

    def _remember(self, entry: Entry) -> None:
        self._unreceipted[entry.sequence] = entry
        if len(self._unreceipted) > MAX_FRAMES:
            self._unreceipted.popitem(last=False)

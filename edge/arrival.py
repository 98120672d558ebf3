"""What has arrived, as the edge node holds it. A leaf: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class StreamKey(NamedTuple):
    """One session of one camera."""

    device: str
    camera: str
    epoch_ms: int


class FrameKey(NamedTuple):
    """One frame, for ever: what the ledger remembers and receipts cover."""

    stream: StreamKey
    sequence: int


@dataclass(frozen=True, slots=True, eq=False)
class Arrival:
    """A frame's payload that was received and found genuine."""

    key: FrameKey
    payload: bytes
    captured_s: float
    """Capture time by the device's clock, seconds since 1970."""
    received_s: float
    """Arrival by this machine's clock, seconds since 1970."""
    received_at: float
    """Arrival by the monotonic clock, seconds."""
    late: bool
    """It had waited on the device before it came."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding(Arrival):
    """A frame that came as task tokens."""

    symbols: NDArray[np.uint8]
    """(k, D) levels, k <= K: all tokens of the frame received so far."""
    chain: tuple[bytes, ...]
    """The original payloads that yield `symbols`, references first, its own last; longer than can
    be escalated means that it is not all there."""
    trailer_bytes: int
    """Length of the check at the end of each payload."""
    refined: bool = False
    """It adds layers to a frame that was captioned without them."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalCaption(Arrival):
    """A frame that the device captioned by itself."""

    text: str
    confidence: float

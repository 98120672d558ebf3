"""What has arrived, as the edge node holds it. A leaf: values only."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from aiflow.common.bundle import BundleCoding
from aiflow.common.symbols import Decoded
from aiflow.common.wire import Context, Header, Local


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
class ReceivedFrame:
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
    coding: BundleCoding
    """Of the bundle that it is coded for."""
    uplink_bytes: int
    """Of the message that carried it on the device's link, as far as that can be seen here."""

    def known(self) -> dict[str, Any]:
        """What every kind of frame is made with, by name."""
        return {one.name: getattr(self, one.name) for one in fields(ReceivedFrame)}


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingFrame(ReceivedFrame):
    """A frame that came as task tokens."""

    decoded: Decoded
    """All tokens of the frame received so far."""
    header: Header
    """Of the payload that carried the frame first, as all that follow."""
    payloads: tuple[bytes, ...]
    """The original payloads that carried it: key or delta, then refinements; longer than can be
    escalated means that it is not all there."""
    context: Context
    cloud: bool = True
    """Whether the device's mode lets the cloud be asked."""
    refined: bool = False
    """It adds layers to a frame that was captioned without them."""
    pictured: bool = False
    """It came as a picture, and was encoded here."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureFrame(ReceivedFrame):
    """A frame that came as a picture."""

    jpeg: bytes
    header: Header
    context: Context


@dataclass(frozen=True, slots=True, eq=False)
class LocalCaption(ReceivedFrame):
    """A frame that the device captioned by itself."""

    local: Local


Received = EmbeddingFrame | PictureFrame | LocalCaption

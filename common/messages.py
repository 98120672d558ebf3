"""JSON messages on MQTT: stream descriptors, captions, cloud replies and statistics.

Every message is frozen and checked when it is made. Writing knows exactly the fields below;
reading skips fields that it does not know, so that a newer peer may add some. A field that is
None is left out of the JSON.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aiflow.common.errors import PayloadMalformed, UnknownVersion
from aiflow.common.wire import Why

MESSAGE_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 65_536
"""A longer JSON message is refused unread."""

Name = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(max_length=1000)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Value = int | float | str | bool
Tier = Literal["device", "edge", "cloud"]
Mode = Literal["device", "split", "cascade", "image"]


REASONS: Final = {
    Why.ASKED: "its mode is device",
    Why.DISCONNECTED: "no connection to the broker",
    Why.NO_NODE: "no edge node was online",
    Why.SILENCE: "no receipt for what it had sent",
    Why.UNANSWERED: "no answer from the broker",
    Why.SLOW: "the edge node would miss the deadline",
}
"""A device's reason for a caption of its own, in words for `reason`."""


class Message(BaseModel):
    """Base of all messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_json(cls, payload: bytes | bytearray) -> Self:
        """Read a message.

        Raises PayloadMalformed when it is too long, no JSON or not this message, and
        UnknownVersion when it carries a version other than ours.
        """
        if len(payload) > MAX_MESSAGE_BYTES:
            raise PayloadMalformed(f"{cls.__name__} of {len(payload)} bytes is too long")
        try:
            if "version" in cls.model_fields:
                _check_version(cls.__name__, pydantic_core.from_json(payload))
            return cls.model_validate_json(payload, strict=True, extra="ignore")
        except ValidationError as error:
            raise PayloadMalformed(f"{cls.__name__}: {_first_fault(error)}") from error
        except ValueError as error:
            raise PayloadMalformed(f"{cls.__name__} is not JSON") from error


class Descriptor(Message):
    """All constants of one stream, retained under its `descriptor` topic."""

    version: Literal[1] = MESSAGE_VERSION
    device: Name
    camera: Name
    bundle: str = Field(pattern=r"^[0-9a-f]{64}$", description="sha256 of the bundle's manifest")
    bundle_name: Name
    codec: Literal["fsq-range-1"] = "fsq-range-1"
    tokens: int = Field(ge=1, le=255)
    dims: int = Field(ge=1, le=255)
    levels: tuple[Annotated[int, Field(ge=2, le=255)], ...] = Field(description="of each dimension")
    layers: tuple[Annotated[int, Field(ge=1, le=255)], ...] = Field(
        max_length=15, description="number of tokens up to and including each layer"
    )
    epoch_ms: int = Field(ge=0, lt=2**53, description="start of the session, device clock")
    authentication: Literal["crc16", "blake2s-64"] = "crc16"
    width: int = Field(ge=1, le=65_535, description="of the camera's frames, pixels")
    height: int = Field(ge=1, le=65_535)
    synthetic: bool = False
    mode: Literal["auto", "device", "split", "cascade", "image"] = Field(
        default="auto", description="split: the cloud is never asked"
    )
    software: str = Field(max_length=64)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(self.levels) != self.dims:
            raise ValueError(f"{len(self.levels)} levels for {self.dims} dims")
        steps = zip((0, *self.layers), self.layers, strict=False)
        if not self.layers or self.layers[-1] != self.tokens or any(a >= b for a, b in steps):
            raise ValueError(f"layers {self.layers} do not rise to {self.tokens} tokens")
        return self


class CaptionBytes(Message):
    """What a frame cost on the wire, in bytes."""

    embedding: Count = Field(description="payload")
    uplink: Count = Field(description="all bytes of the frame from the device, MQTT included")


class Latency(Message):
    """Seconds per stage, as far as the publisher has measured them."""

    queue: Seconds | None = None
    decode: Seconds | None = None
    cloud: Seconds | None = Field(default=None, description="from request to reply")
    total: float = Field(description="from capture to publishing, by wall clocks")


class Caption(Message):
    """What is seen in one frame."""

    id: str = Field(min_length=1, max_length=200)
    device: Name
    camera: Name
    timestamp: float = Field(description="capture time, seconds since 1970")
    type: Literal["new", "update", "trigger"]
    text: Text
    confidence: Probability
    tier: Tier
    mode: Mode
    bytes: CaptionBytes
    latency_s: Latency
    bundle: str = Field(pattern=r"^[0-9a-f]{64}$")
    late: bool = Field(description="it waited in the outbox")
    sequence: Count
    reason: str = Field(default="", max_length=200, description="why this mode and tier")
    trigger: Name | None = Field(default=None, description="which one fired, in type trigger")


class CloudSeconds(Message):
    """Where a cloud worker's time went."""

    queue: Seconds
    compute: Seconds


class CloudReply(Message):
    """A cloud worker's answer to one escalation; with `error` set the rest means nothing."""

    version: Literal[1] = MESSAGE_VERSION
    tokens: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = Field(default=(), max_length=256)
    text: Text = ""
    confidence: Probability = 0.0
    accepted: Count = Field(default=0, description="draft tokens kept")
    drafted: Count = Field(default=0, description="draft tokens offered")
    passes: Count = Field(default=0, description="runs of the decoder")
    seconds: CloudSeconds
    worker: Name
    error: str | None = Field(default=None, max_length=500)


class DeviceStats(Message):
    """Counters since start and present values of a device, each minute."""

    version: Literal[1] = MESSAGE_VERSION
    device: Name
    timestamp: float
    uptime_s: Seconds
    software: str = Field(max_length=64)
    counters: dict[str, Count] = Field(default_factory=dict)
    values: dict[str, Value] = Field(default_factory=dict)
    cameras: dict[str, dict[str, Value]] = Field(default_factory=dict)


class EdgeStats(Message):
    """Counters since start and present values of an edge node, each minute."""

    version: Literal[1] = MESSAGE_VERSION
    node: Name
    timestamp: float
    uptime_s: Seconds
    software: str = Field(max_length=64)
    counters: dict[str, Count] = Field(default_factory=dict)
    values: dict[str, Value] = Field(default_factory=dict)


def caption_id(device: str, camera: str, epoch_ms: int, sequence: int) -> str:
    """The id that a caption and its later updates share."""
    return f"{device}/{camera}/{epoch_ms:x}-{sequence}"


def _check_version(name: str, content: object) -> None:
    version = content.get("version") if isinstance(content, dict) else None
    if version is None:
        raise PayloadMalformed(f"{name} has no version")
    if version != MESSAGE_VERSION:
        raise UnknownVersion(f"{name} of version {version!r:.20}; this end reads {MESSAGE_VERSION}")


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {fault['msg']}" if where else str(fault["msg"])

"""What a camera's process and the daemon say to each other: JSON, one message a packet.

    daemon                                    process
      Order  ─────────────────────────────────> opens the camera
             <───────────────────────── Opened
             <───────────────────────────  Shot   a picture lies in a slot
             <─────────────────────────── Alive   data come, or a pause that is meant
      slot   ─────────────────────────────────> it may be written again: one byte
             <──────────────── Ended or Failed
      the end of the connection  <────────────> the other one ends as well

JSON and not pickle: the process takes in whatever a network sends, so it is not believed blindly.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from aiflow.common.errors import CameraError

MAX_BYTES: Final = 65_536
_MAX_FAULT: Final = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """The first message: what to open, and how. In no command line, as a URI may hold a password.

    With `checksums`, each `Shot` tells one pixel-identical picture from another.
    """

    uri: str
    fps: float
    width: int | None = None
    height: int | None = None
    checksums: bool = False
    stall_s: float = 3.0

    def pack(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def unpack(cls, packet: bytes) -> Self:
        return cls(**json.loads(packet))


@dataclass(frozen=True, slots=True)
class Opened:
    """The camera is open; frames are to come."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture lies in a slot, which is the daemon's until it gives it back."""

    slot: int
    height: int
    width: int
    captured_at: float
    index: int
    checksum: int = 0


@dataclass(frozen=True, slots=True)
class Alive:
    """The camera is not silent, though it gives no picture now; how many were `bad` so far."""

    bad: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The source has come to its end."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The camera cannot be opened, or delivers nothing; `fault` is a sentence."""

    fault: str


Message = Opened | Shot | Alive | Ended | Failed
_KINDS: Final = {kind.__name__: kind for kind in (Opened, Shot, Alive, Ended, Failed)}


def pack(message: Message) -> bytes:
    """One packet."""
    content = _content(message)
    if isinstance(message, Failed):
        content["fault"] = message.fault[:_MAX_FAULT]
    return json.dumps([type(message).__name__, content]).encode()


def unpack(packet: bytes) -> Message:
    """Raises CameraError for anything that is no message."""
    try:
        kind, content = json.loads(packet)
        message = _KINDS[kind](**content)
        _check(message)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CameraError(f"its process says what makes no sense: {packet[:80]!r}") from error
    return message


def _check(message: Any) -> None:
    """Raises TypeError for a field of another type than its class says."""
    for name, value in _content(message).items():
        wanted = {"fault": str, "captured_at": float}.get(name, int)
        if type(value) is not wanted:
            raise TypeError(name)


def _content(message: Any) -> dict[str, Any]:
    """Its fields; `asdict` would copy each value, twice a frame."""
    return {field.name: getattr(message, field.name) for field in fields(message)}

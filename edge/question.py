"""What an edge node asks the cloud about one frame. A leaf."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

from aiflow.common.codec import Tables
from aiflow.common.messages import CloudReply
from aiflow.common.symbols import key_payload
from aiflow.common.wire import Kind
from aiflow.edge.arrival import Embedding
from aiflow.edge.pace import Drafts
from aiflow.edge.publisher import Stages

CORRELATION_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Pool:
    """Which cloud workers to ask, and how long an answer may take."""

    request_topic: str
    draft_topic: str
    reply_topic: str
    lease_s: float
    drafts: Drafts = "auto"


@dataclass(slots=True, eq=False)
class Question:
    """One escalation on its way."""

    frame: Embedding
    payloads: tuple[bytes, ...]
    draft: tuple[int, ...]
    """The edge's tokens, as far as there are any yet."""
    doubted_at: float
    asked_at: float
    stages: Stages = field(default_factory=Stages)
    """Of the edge's own caption."""
    streamed: bool = False
    """It was asked while the edge was still decoding."""
    ready: bool = True
    """The edge's own caption is out, which an answer must not overtake."""
    held: CloudReply | None = None
    """An answer that came before that."""
    correlation: bytes = field(default_factory=lambda: secrets.token_bytes(CORRELATION_BYTES))
    attempt: int = 1
    cloud_s: float = 0.0
    """From the question to its answer."""


def standing_alone(frame: Embedding, tables: Tables) -> tuple[bytes, ...]:
    """Payloads that yield a frame without any other: those that its device keeps of it.

    They are the original ones; only in the place of a delta is the key payload of the frame.
    """
    first, *refinements = frame.payloads
    if first[0] & 0x0F == Kind.DELTA:
        first = key_payload(frame.header, frame.decoded.own, tables, frame.context)
    return (first, *refinements)

"""The binary wire format, as one front door; docs/wire.md is the normative text.

`payload` holds embedding payloads, `control` everything that answers or forwards them, `fields`
the spelling of numbers and names. Nothing here knows MQTT or the codec: a body is opaque bytes.
Whatever the bytes, reading returns a message or raises a PayloadError, in time and memory
proportional to their length, which is capped first.
"""

from __future__ import annotations

from aiflow.common.control import (
    MAX_DRAFT_TOKENS,
    MAX_ESCALATED_PAYLOADS,
    MAX_ESCALATION_BYTES,
    MAX_RANGES,
    MAX_RECEIPT_BYTES,
    Escalation,
    KeyFrameOrder,
    Receipt,
    RefineOrder,
    pack_escalation,
    pack_receipt,
    pack_receipts,
    pack_refine_order,
    unpack_escalation,
    unpack_receipt,
    unpack_refine_order,
)
from aiflow.common.fields import MAX_NAME_BYTES, VERSION, kind_of
from aiflow.common.payload import (
    CRC_BYTES,
    MAC_BYTES,
    MAX_CAPTION_BYTES,
    MAX_IMAGE_BYTES,
    MAX_LAYERS,
    MAX_PAYLOAD_BYTES,
    SEQUENCE_LIMIT,
    Context,
    Header,
    Kind,
    Local,
    Packet,
    Why,
    pack,
    pack_local,
    require_bundle,
    unpack,
    unpack_local,
    unpack_unverified,
)

__all__ = [
    "CRC_BYTES",
    "MAC_BYTES",
    "MAX_CAPTION_BYTES",
    "MAX_DRAFT_TOKENS",
    "MAX_ESCALATED_PAYLOADS",
    "MAX_ESCALATION_BYTES",
    "MAX_IMAGE_BYTES",
    "MAX_LAYERS",
    "MAX_NAME_BYTES",
    "MAX_PAYLOAD_BYTES",
    "MAX_RANGES",
    "MAX_RECEIPT_BYTES",
    "SEQUENCE_LIMIT",
    "VERSION",
    "Context",
    "Escalation",
    "Header",
    "KeyFrameOrder",
    "Kind",
    "Local",
    "Packet",
    "Receipt",
    "RefineOrder",
    "Why",
    "kind_of",
    "pack",
    "pack_escalation",
    "pack_local",
    "pack_receipt",
    "pack_receipts",
    "pack_refine_order",
    "require_bundle",
    "unpack",
    "unpack_escalation",
    "unpack_local",
    "unpack_receipt",
    "unpack_refine_order",
    "unpack_unverified",
]

"""Embedding payloads: one frame of one stream, checked against that stream.

    byte 0      version | kind (0 key, 1 delta, 2 refine, 3 local)
    2 bytes     bundle tag: the first two of the bundle's id
    varint      sequence
    varint      capture time, ms since the session's epoch
    varint      delta only: sequence - reference sequence
    1 byte      not local: first layer | number of layers
    rest        body
    2 or 8      trailer: CRC-16/CCITT-FALSE, or keyed BLAKE2s, over context + all of the above

The context (device, camera, epoch) is not sent: a payload of another stream or of an older
session therefore fails its check.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from aiflow.common.errors import (
    ConfigError,
    PayloadMalformed,
    PayloadTruncated,
    UnknownBundle,
    WrongChecksum,
    WrongMac,
)
from aiflow.common.fields import Reader, check_version, first_byte, name_bytes, utf8, varint

MAX_PAYLOAD_BYTES: Final = 4096
MAX_CAPTION_BYTES: Final = 1000
MAX_LAYERS: Final = 15
TAG_BYTES: Final = 2
CRC_BYTES: Final = 2
MAC_BYTES: Final = 8
MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 32

SEQUENCE_LIMIT: Final = 2**40
CAPTURED_LIMIT_MS: Final = 2**45
EPOCH_LIMIT_MS: Final = 2**53


class Kind(IntEnum):
    """What the body of a payload is."""

    KEY = 0
    """Stands alone."""
    DELTA = 1
    """Coded against an earlier frame of the same session."""
    REFINE = 2
    """Further layers of a frame already sent."""
    LOCAL = 3
    """A caption that the device made itself."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One payload, taken apart.

    `bundle_tag` has 2 bytes, `sequence` is below 2**40, `captured_ms` (since the epoch of the
    session) below 2**45. `reference` is the absolute sequence that a delta was made against. A
    local packet has no layers; it keeps the defaults.
    """

    kind: Kind
    bundle_tag: bytes
    sequence: int
    captured_ms: int
    body: bytes
    first_layer: int = 0
    layers: int = 1
    reference: int | None = None


@dataclass(frozen=True, slots=True)
class Context:
    """The stream that a payload belongs to. With a `key` (16 to 32 bytes) it bears a MAC.

    Raises ConfigError for a key of another length and PayloadMalformed for a name or an epoch
    (ms since 1970, below 2**53) that no stream can have.
    """

    device: str
    camera: str
    epoch_ms: int
    key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.key is not None and not MIN_KEY_BYTES <= len(self.key) <= MAX_KEY_BYTES:
            raise ConfigError(f"a device key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes")
        if not 0 <= self.epoch_ms < EPOCH_LIMIT_MS:
            raise PayloadMalformed(f"epoch {self.epoch_ms} is not in 0..{EPOCH_LIMIT_MS - 1}")
        name_bytes(self.device, "device")
        name_bytes(self.camera, "camera")

    @property
    def trailer_bytes(self) -> int:
        return CRC_BYTES if self.key is None else MAC_BYTES

    def trailer(self, content: bytes) -> bytes:
        """The check of `content` within this stream.

        CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) detects every error of one or two
        bits and every burst of up to 16; BLAKE2s (RFC 7693) keyed, 8 bytes, also forgery.
        """
        device, camera = self.device.encode(), self.camera.encode()
        bound = b"%b\0%b\0%b%b" % (device, camera, self.epoch_ms.to_bytes(8, "big"), content)
        if self.key is None:
            return binascii.crc_hqx(bound, 0xFFFF).to_bytes(CRC_BYTES, "big")
        return hashlib.blake2s(bound, digest_size=MAC_BYTES, key=self.key).digest()

    def check(self, payload: bytes) -> None:
        """Raise WrongChecksum or WrongMac unless `payload` ends in its own trailer."""
        content, trailer = payload[: -self.trailer_bytes], payload[-self.trailer_bytes :]
        if not hmac.compare_digest(trailer, self.trailer(content)):
            fault, what = (WrongChecksum, "CRC") if self.key is None else (WrongMac, "MAC")
            raise fault(f"wrong {what} for {self.device}/{self.camera}")


def layer_map(first_layer: int, layers: int) -> int:
    """First layer and number of layers in one byte; PayloadMalformed if they do not fit."""
    if first_layer < 0 or layers < 1 or first_layer + layers > MAX_LAYERS:
        raise PayloadMalformed(f"no layer map for {layers} layers from {first_layer}")
    return first_layer << 4 | layers


def read_layer_map(value: int) -> tuple[int, int]:
    """Take a layer map apart into first layer and number of layers."""
    first_layer, layers = value >> 4, value & 0x0F
    layer_map(first_layer, layers)
    return first_layer, layers


def pack(packet: Packet, context: Context) -> bytes:
    """Put a packet together; PayloadMalformed if it says something impossible."""
    _check_kind(packet)
    if len(packet.bundle_tag) != TAG_BYTES:
        raise PayloadMalformed(f"bundle tag of {len(packet.bundle_tag)} bytes")
    parts = [
        first_byte(packet.kind),
        packet.bundle_tag,
        varint(packet.sequence, SEQUENCE_LIMIT, "sequence"),
        varint(packet.captured_ms, CAPTURED_LIMIT_MS, "capture time"),
    ]
    if packet.reference is not None:
        parts.append(varint(packet.sequence - packet.reference, SEQUENCE_LIMIT, "distance"))
    if packet.kind is not Kind.LOCAL:
        parts.append(bytes([layer_map(packet.first_layer, packet.layers)]))
    parts.append(packet.body)
    content = b"".join(parts)
    if len(content) + context.trailer_bytes > MAX_PAYLOAD_BYTES:
        raise PayloadMalformed(f"payload of over {MAX_PAYLOAD_BYTES} bytes")
    return content + context.trailer(content)


def unpack(payload: bytes, context: Context, *, verify: bool = True) -> Packet:
    """Take a payload apart, having checked length, version and trailer, in this order.

    Raises a PayloadError. With `verify` off the trailer is cut off unchecked: only where the
    sender is trusted and has checked it. The bundle tag is not judged here (`require_bundle`).
    """
    return _unpack(payload, context.trailer_bytes, context if verify else None)


def unpack_unverified(payload: bytes, trailer_bytes: int) -> Packet:
    """Take a payload apart that a trusted sender has already checked."""
    return _unpack(payload, trailer_bytes, None)


def require_bundle(packet: Packet, tag: bytes) -> None:
    """Raise UnknownBundle unless the packet was coded for the bundle with this tag."""
    if packet.bundle_tag != tag:
        raise UnknownBundle(f"coded for bundle {packet.bundle_tag.hex()}; here is {tag.hex()}")


def pack_local(confidence: float, caption: str) -> bytes:
    """Body of a local packet: confidence (0 to 1) in one byte, then the caption in UTF-8."""
    text = caption.encode(errors="replace")
    if not 0 <= confidence <= 1 or len(text) > MAX_CAPTION_BYTES:
        raise PayloadMalformed(f"caption of {len(text)} bytes with confidence {confidence}")
    return bytes([round(confidence * 255)]) + text


def unpack_local(body: bytes) -> tuple[float, str]:
    """Confidence and caption of a local packet's body."""
    if not body:
        raise PayloadTruncated("a local body without its confidence")
    if len(body) > 1 + MAX_CAPTION_BYTES:
        raise PayloadMalformed(f"caption of {len(body) - 1} bytes; at most {MAX_CAPTION_BYTES}")
    return body[0] / 255, utf8(body[1:], "caption")


def _unpack(payload: bytes, trailer_bytes: int, context: Context | None) -> Packet:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadMalformed(f"payload of {len(payload)} bytes; at most {MAX_PAYLOAD_BYTES}")
    kind_number = check_version(payload)
    if len(payload) < 1 + TAG_BYTES + 2 + trailer_bytes:
        raise PayloadTruncated(f"payload of {len(payload)} bytes")
    if context is not None:
        context.check(payload)
    if kind_number > Kind.LOCAL:
        raise PayloadMalformed(f"kind {kind_number} is no embedding payload")
    kind = Kind(kind_number)
    reader = Reader(payload[:-trailer_bytes], 1)
    tag = reader.take(TAG_BYTES, "bundle tag")
    sequence = reader.varint(SEQUENCE_LIMIT, "sequence")
    captured_ms = reader.varint(CAPTURED_LIMIT_MS, "capture time")
    reference = None
    if kind is Kind.DELTA:
        reference = sequence - reader.varint(sequence + 1, "distance", least=1)
    first_layer, layers = 0, 1
    if kind is not Kind.LOCAL:
        first_layer, layers = read_layer_map(reader.byte("layer map"))
    packet = Packet(kind, tag, sequence, captured_ms, reader.rest(), first_layer, layers, reference)
    _check_kind(packet)
    return packet


def _check_kind(packet: Packet) -> None:
    """What a kind requires of the other fields."""
    kind, reference = packet.kind, packet.reference
    if (reference is not None) != (kind is Kind.DELTA):
        raise PayloadMalformed(f"a {kind.name} with reference {reference}")
    if reference is not None and not 0 <= reference < packet.sequence:
        raise PayloadMalformed(f"reference {reference} of frame {packet.sequence}")
    if (packet.first_layer > 0) != (kind is Kind.REFINE):
        raise PayloadMalformed(f"a {kind.name} from layer {packet.first_layer}")
    if kind is Kind.LOCAL:
        if packet.layers != 1:
            raise PayloadMalformed(f"a LOCAL with {packet.layers} layers")
        unpack_local(packet.body)

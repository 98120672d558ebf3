"""Embedding payloads: one frame of one stream, checked against that stream.

    key, refine, local, image                 delta
    byte 0      version | kind                byte 0      version | kind
    2 bytes     bundle tag                    1 byte      reference's sequence, its last 8 bits
    varint      sequence                      varint      sequence - reference's sequence
    varint      capture time, ms since epoch  varint      capture time - reference's, ms
    1 byte      layers (of key and refine)
    rest        body                          rest        body
    2 or 8      trailer                       2 or 8      trailer

The trailer is a CRC-16/CCITT-FALSE or a keyed BLAKE2s over the context and all that is before it.
The context (device, camera, epoch, and for a delta the rest of its reference's sequence) is not
sent: a payload of another stream, of an older session or against another frame fails its check.
Whatever else a delta's header leaves out is that of its reference.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from aiflow.common.errors import (
    ConfigError,
    PayloadMalformed,
    PayloadTruncated,
    ReferenceMissing,
    UnknownBundle,
    WrongChecksum,
    WrongMac,
)
from aiflow.common.fields import (
    Reader,
    check_version,
    first_byte,
    kind_of,
    name_bytes,
    utf8,
    varint,
)

MAX_PAYLOAD_BYTES: Final = 4096
MAX_IMAGE_BYTES: Final = 262_144
"""Of a payload that holds a picture."""
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

_LOW_BITS: Final = 8
"""Of its reference's sequence a delta carries these; the trailer covers the others."""
_HIGH_BYTES: Final = 4


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
    IMAGE = 7
    """The picture itself, as JPEG; only from a device whose owner lets pixels leave."""


KINDS: Final = frozenset(Kind)
UNLAYERED: Final = frozenset({Kind.LOCAL, Kind.IMAGE})
JPEG_START: Final = b"\xff\xd8\xff"


@dataclass(frozen=True, slots=True)
class Header:
    """What identifies a frame that came as a key or as a delta, whichever it was."""

    bundle_tag: bytes
    sequence: int
    captured_ms: int
    layers: int


@dataclass(frozen=True, slots=True)
class Packet:
    """One payload, taken apart.

    `bundle_tag` has 2 bytes, `sequence` is below 2**40, `captured_ms` (since the epoch of the
    session) below 2**45. `reference` is the frame that a delta was made against: an earlier one,
    captured no later, with the same tag and layers. A local packet and an image have no layers;
    they keep the defaults.
    """

    kind: Kind
    bundle_tag: bytes
    sequence: int
    captured_ms: int
    body: bytes
    first_layer: int = 0
    layers: int = 1
    reference: Header | None = None

    @property
    def header(self) -> Header:
        """Of a key or a delta."""
        return Header(self.bundle_tag, self.sequence, self.captured_ms, self.layers)


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

    def trailer(self, content: bytes, reference: Header | None = None) -> bytes:
        """The check of `content` within this stream, for a delta against `reference`.

        CRC-16/CCITT-FALSE (polynomial 0x1021, start 0xFFFF) detects every odd number of wrong
        bits and every burst of up to 16; BLAKE2s (RFC 7693) keyed, 8 bytes, also forgery.
        """
        device, camera = self.device.encode(), self.camera.encode()
        high = 0 if reference is None else reference.sequence >> _LOW_BITS
        # Twice: one wrong bit that makes us take another reference is still an odd number of them.
        unsaid = 2 * high.to_bytes(_HIGH_BYTES, "big")
        epoch = self.epoch_ms.to_bytes(8, "big")
        bound = b"%b\0%b\0%b%b%b" % (device, camera, epoch, unsaid, content)
        if self.key is None:
            return binascii.crc_hqx(bound, 0xFFFF).to_bytes(CRC_BYTES, "big")
        return hashlib.blake2s(bound, digest_size=MAC_BYTES, key=self.key).digest()

    def fits(self, payload: bytes, reference: Header | None = None) -> bool:
        """Whether `payload` ends in its own trailer."""
        content, trailer = payload[: -self.trailer_bytes], payload[-self.trailer_bytes :]
        return hmac.compare_digest(trailer, self.trailer(content, reference))

    def misfit(self) -> WrongChecksum | WrongMac:
        """The error for a payload that does not fit."""
        fault, what = (WrongChecksum, "CRC") if self.key is None else (WrongMac, "MAC")
        return fault(f"wrong {what} for {self.device}/{self.camera}")


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
    header = (
        _header(packet) if packet.reference is None else _delta_header(packet, packet.reference)
    )
    content = first_byte(packet.kind) + header + packet.body
    most = _most_bytes(packet.kind)
    if len(content) + context.trailer_bytes > most:
        raise PayloadMalformed(f"payload of over {most} bytes")
    return content + context.trailer(content, packet.reference)


def unpack(payload: bytes, context: Context, references: Iterable[Header] = ()) -> Packet:
    """Take a payload apart, having checked length, version and trailer, in this order.

    `references` are the frames at hand that a delta may have been made against, likelier ones
    first; ReferenceMissing if it is none of them. Raises a PayloadError. The bundle tag is not
    judged here (`require_bundle`).
    """
    kind_number = _check_start(payload, context.trailer_bytes)
    if kind_number == Kind.DELTA:
        return _unpack_delta(payload, context, references)
    if not context.fits(payload):
        raise context.misfit()
    return _unpack(payload, context.trailer_bytes, kind_number)


def unpack_unverified(payload: bytes, trailer_bytes: int) -> Packet:
    """Take a payload apart that a trusted sender has already checked. It must stand alone."""
    kind_number = _check_start(payload, trailer_bytes)
    if kind_number == Kind.DELTA:
        raise ReferenceMissing("a delta where no other frame is at hand")
    return _unpack(payload, trailer_bytes, kind_number)


def require_bundle(packet: Packet, tag: bytes) -> None:
    """Raise UnknownBundle unless the packet was coded for the bundle with this tag."""
    if packet.bundle_tag != tag:
        raise UnknownBundle(f"coded for bundle {packet.bundle_tag.hex()}; here is {tag.hex()}")


class Why(IntEnum):
    """Why a device captioned a frame by itself."""

    ASKED = 0
    """Its owner wants it so."""
    DISCONNECTED = 1
    """There is no connection to the broker."""
    NO_NODE = 2
    """No edge node is online."""
    SILENCE = 3
    """Frames were sent, and no receipt came."""
    UNANSWERED = 4
    """The broker does not acknowledge what it is sent."""
    SLOW = 5
    """An edge node would caption after the deadline."""


@dataclass(frozen=True, slots=True)
class Local:
    """A caption that a device made itself; `confidence` is 0 to 1."""

    why: Why
    confidence: float
    text: str


def pack_local(local: Local) -> bytes:
    """Body of a local packet: reason and confidence in a byte each, then the caption in UTF-8."""
    text = local.text.encode(errors="replace")
    if not 0 <= local.confidence <= 1 or len(text) > MAX_CAPTION_BYTES:
        raise PayloadMalformed(f"caption of {len(text)} bytes with confidence {local.confidence}")
    return bytes([local.why, round(local.confidence * 255)]) + text


def unpack_local(body: bytes) -> Local:
    """Read a local packet's body."""
    if len(body) < 2:
        raise PayloadTruncated("a local body without its reason and confidence")
    if len(body) > 2 + MAX_CAPTION_BYTES:
        raise PayloadMalformed(f"caption of {len(body) - 2} bytes; at most {MAX_CAPTION_BYTES}")
    if body[0] > max(Why):
        raise PayloadMalformed(f"reason {body[0]} for a local caption is not known")
    return Local(Why(body[0]), body[1] / 255, utf8(body[2:], "caption"))


def _header(packet: Packet) -> bytes:
    header = (
        packet.bundle_tag
        + varint(packet.sequence, SEQUENCE_LIMIT, "sequence")
        + varint(packet.captured_ms, CAPTURED_LIMIT_MS, "capture time")
    )
    if packet.kind not in UNLAYERED:
        header += bytes([layer_map(packet.first_layer, packet.layers)])
    return header


def _delta_header(packet: Packet, reference: Header) -> bytes:
    _in_limits(packet.sequence, packet.captured_ms)
    return (
        bytes([reference.sequence % 2**_LOW_BITS])
        + varint(packet.sequence - reference.sequence, SEQUENCE_LIMIT, "distance")
        + varint(packet.captured_ms - reference.captured_ms, CAPTURED_LIMIT_MS, "time between")
    )


def _check_start(payload: bytes, trailer_bytes: int) -> int:
    """The number of the kind, having checked length and version."""
    most = _most_bytes(kind_of(payload) if payload else Kind.KEY)
    if len(payload) > most:
        raise PayloadMalformed(f"payload of {len(payload)} bytes; at most {most}")
    kind_number = check_version(payload)
    least = 4 if kind_number == Kind.DELTA else 3 + TAG_BYTES
    if len(payload) < least + trailer_bytes:
        raise PayloadTruncated(f"payload of {len(payload)} bytes")
    return kind_number


def _unpack(payload: bytes, trailer_bytes: int, kind_number: int) -> Packet:
    if kind_number not in KINDS:
        raise PayloadMalformed(f"kind {kind_number} is no embedding payload")
    kind = Kind(kind_number)
    reader = Reader(payload[:-trailer_bytes], 1)
    tag = reader.take(TAG_BYTES, "bundle tag")
    sequence = reader.varint(SEQUENCE_LIMIT, "sequence")
    captured_ms = reader.varint(CAPTURED_LIMIT_MS, "capture time")
    first_layer, layers = 0, 1
    if kind not in UNLAYERED:
        first_layer, layers = read_layer_map(reader.byte("layer map"))
    packet = Packet(kind, tag, sequence, captured_ms, reader.rest(), first_layer, layers)
    _check_kind(packet)
    return packet


def _unpack_delta(payload: bytes, context: Context, references: Iterable[Header]) -> Packet:
    low = payload[1]
    possible = [one for one in references if one.sequence % 2**_LOW_BITS == low]
    if not possible:
        raise ReferenceMissing(f"a delta against a frame {low} mod 256, which is not at hand")
    reference = next((one for one in possible if context.fits(payload, one)), None)
    if reference is None:
        raise context.misfit()
    reader = Reader(payload[: -context.trailer_bytes], 2)
    sequence = reference.sequence + reader.varint(SEQUENCE_LIMIT, "distance", least=1)
    captured_ms = reference.captured_ms + reader.varint(CAPTURED_LIMIT_MS, "time between")
    _in_limits(sequence, captured_ms)
    tag, layers = reference.bundle_tag, reference.layers
    return Packet(Kind.DELTA, tag, sequence, captured_ms, reader.rest(), 0, layers, reference)


def _in_limits(sequence: int, captured_ms: int) -> None:
    if sequence >= SEQUENCE_LIMIT or captured_ms >= CAPTURED_LIMIT_MS:
        raise PayloadMalformed(f"a delta of frame {sequence}, captured at {captured_ms} ms")


def _check_kind(packet: Packet) -> None:
    """What a kind requires of the other fields."""
    kind, reference = packet.kind, packet.reference
    if (reference is not None) != (kind is Kind.DELTA):
        raise PayloadMalformed(f"a {kind.name} with reference {reference}")
    if reference is not None and not (
        0 <= reference.sequence < packet.sequence
        and 0 <= reference.captured_ms <= packet.captured_ms
        and (reference.bundle_tag, reference.layers) == (packet.bundle_tag, packet.layers)
    ):
        raise PayloadMalformed(f"{reference} of frame {packet.sequence}")
    if (packet.first_layer > 0) != (kind is Kind.REFINE):
        raise PayloadMalformed(f"a {kind.name} from layer {packet.first_layer}")
    if kind in UNLAYERED and packet.layers != 1:
        raise PayloadMalformed(f"a {kind.name} with {packet.layers} layers")
    if kind is Kind.LOCAL:
        unpack_local(packet.body)
    if kind is Kind.IMAGE and not packet.body.startswith(JPEG_START):
        raise PayloadMalformed(f"frame {packet.sequence} says it is an image, and is no JPEG")


def _most_bytes(kind_number: int) -> int:
    return MAX_IMAGE_BYTES if kind_number == Kind.IMAGE else MAX_PAYLOAD_BYTES

"""Embeddings as arrays: what devices send, decoded as an edge node does it.

descriptor ──> stream: session, bundle
embedding  ──> check ──> decode against what came before ──> symbols, vectors

All decoding is on the network thread: frames refer to earlier ones, so none may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.client.subscription import Subscription
from aiflow.common.bundle import Bundle
from aiflow.common.codec import Symbols
from aiflow.common.config import Broker
from aiflow.common.errors import PayloadError
from aiflow.common.frames import Frames
from aiflow.common.messages import Descriptor
from aiflow.common.mqtt import Properties
from aiflow.common.wire import Context, Kind, require_bundle, unpack

MAX_STREAMS: Final = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The meaning of one frame, as far as its device has sent it."""

    device: str
    camera: str
    epoch_ms: int
    """Start of the device's session; sequences count from there on."""
    sequence: int
    """With the three above the same as in the frame's caption and its `id`."""
    timestamp: float
    """Capture time, seconds since 1970, by the device's clock."""
    bundle: str
    """Id of the bundle that it is coded for, hex."""
    symbols: Symbols
    """uint8 (k, D): the first k of the bundle's K tokens, each dimension a level from 0 on."""
    levels: tuple[int, ...]
    """How many levels each of the D dimensions has."""
    tokens: int
    """K, of a frame that is all there."""
    refined: bool = False
    """It came before, with fewer tokens."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """float32 (k, D), each dimension from -1 to 1."""
        top = np.array(self.levels, np.float32) - 1
        return np.asarray(2 * self.symbols.astype(np.float32) / top - 1, np.float32)

    @property
    def vector(self) -> NDArray[np.float32]:
        """float32 (K * D,): all tokens in a row; those that were not sent are 0."""
        whole = np.zeros((self.tokens, len(self.levels)), np.float32)
        whole[: len(self.symbols)] = self.vectors
        return whole.ravel()


@dataclass(slots=True)
class _Stream(Frames):
    """One session of one camera."""

    context: Context
    bundle: Bundle


class Embeddings(Subscription[Embedding]):
    """Every embedding of the streams whose bundle is here, each frame once.

    A subscriber that comes in the middle of a stream cannot read a frame that is sent as the
    difference to an earlier one: it is skipped, with the reason `reference`, until the device's
    next key frame and the receipt for that. The key frame comes after `key_every_s` of the device
    at the latest (60 s by default), if anything is sent then.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        bundles: Sequence[str | Path] = ("street",),
        device: str | None = None,
        camera: str | None = None,
        keys: Mapping[str, bytes] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Of all devices and cameras, or of one. `timeout_s`: end when nothing came for so long.

        `bundles` are names or folders; `keys` the keys of devices that sign, by device name.
        Raises BundleError, and ConfigError for names, files and keys that cannot be.
        """
        super().__init__(broker, device, camera, timeout_s)
        self._bundles = {one.id: one for one in map(Bundle.open, bundles)}
        self._keys = dict(keys or {})
        for name, key in self._keys.items():
            Context(name, "any", 0, key)
        self._streams: dict[tuple[str, str], _Stream] = {}
        # Descriptors first: a payload whose descriptor is not known yet is skipped.
        self._session.subscribe(f"{self._base}/descriptor", 1, self._describe)
        self._session.subscribe(f"{self._base}/embedding", 1, self._take)

    def _describe(self, topic: str, payload: bytes, _properties: Properties) -> None:
        try:
            descriptor = Descriptor.from_json(payload) if payload else None
        except PayloadError:
            self.skipped["descriptor"] += 1
            return
        parsed = self._topics.parse(topic)
        if parsed is None:
            return
        device, camera, _ = parsed
        if descriptor is None or (descriptor.device, descriptor.camera) != (device, camera):
            self._streams.pop((device, camera), None)
            return
        bundle = self._bundles.get(descriptor.bundle)
        if bundle is None:
            self._streams.pop((device, camera), None)
            self.skipped["bundle"] += 1
            return
        context = Context(device, camera, descriptor.epoch_ms, self._keys.get(device))
        known = self._streams.get((device, camera))
        if known is not None and (known.context, known.bundle) == (context, bundle):
            return  # it is retained, and comes again with each connection
        if known is None and len(self._streams) >= MAX_STREAMS:
            self.skipped["streams"] += 1
            return
        self._streams[device, camera] = _Stream(context, bundle)

    def _take(self, topic: str, payload: bytes, _properties: Properties) -> None:
        parsed = self._topics.parse(topic)
        stream = self._streams.get(parsed[:2]) if parsed is not None else None
        if stream is None:
            self.skipped["no_descriptor"] += 1
            return
        try:
            embedding = _decoded(stream, payload)
        except PayloadError as error:
            self.skipped[error.reason] += 1
        else:
            if embedding is not None:
                self._put(embedding)


def _decoded(stream: _Stream, payload: bytes) -> Embedding | None:
    """None for a caption of the device's own, and for a frame that was sent again."""
    context, bundle = stream.context, stream.bundle
    packet = unpack(payload, context, stream.references())
    require_bundle(packet, bundle.tag)
    again = packet.sequence in stream.frames and packet.kind is not Kind.REFINE
    if again or packet.kind in {Kind.LOCAL, Kind.IMAGE}:
        return None
    frame = stream.take(packet, payload, bundle.tables)
    return Embedding(
        device=context.device,
        camera=context.camera,
        epoch_ms=context.epoch_ms,
        sequence=packet.sequence,
        timestamp=(context.epoch_ms + frame.header.captured_ms) / 1000,
        bundle=bundle.id,
        symbols=frame.decoded.symbols,
        levels=bundle.levels,
        tokens=bundle.tokens,
        refined=packet.kind is Kind.REFINE,
    )

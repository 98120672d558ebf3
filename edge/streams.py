"""What the edge node knows of each camera's stream: descriptor, key, frames to refer to. A leaf.

Used by the network thread alone; only `__len__` and `usable` may be read from elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiflow.common.bundle import BundleCoding
from aiflow.common.errors import PayloadMalformed, UnknownBundle
from aiflow.common.frames import Frames
from aiflow.common.messages import Descriptor
from aiflow.common.wire import Context
from aiflow.edge.received import StreamKey

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Stream(Frames):
    """One session of one camera."""

    key: StreamKey
    context: Context
    cloud: bool = True
    """Whether the device's mode lets the cloud be asked."""
    coding: BundleCoding | None = None
    """Of its bundle; None for a bundle that this node does not have."""
    bundle: str = ""
    """Its name and the beginning of its id."""
    key_frame_asked_at: float = float("-inf")

    def known_coding(self) -> BundleCoding:
        """Raises UnknownBundle."""
        if self.coding is None:
            raise UnknownBundle(
                f"{self.key.device}/{self.key.camera} sends frames for bundle {self.bundle}"
            )
        return self.coding


class Streams:
    """All streams, at most `max_streams`; beyond that newcomers are refused, not those present."""

    def __init__(
        self,
        codings: Sequence[BundleCoding],
        device_keys: Mapping[str, bytes],
        *,
        max_streams: int,
    ) -> None:
        """`codings` are of the bundles that this node has.

        A device in `device_keys` must sign: its descriptor cannot talk it out of that.

        Raises ConfigError for a key of a length that no key has.
        """
        for device, key in device_keys.items():
            Context(device, "any", 0, key)
        self._codings = {coding.bundle_id: coding for coding in codings}
        self._device_keys = device_keys
        self._max_streams = max_streams
        self._streams: dict[tuple[str, str], Stream] = {}

    def get(self, device: str, camera: str) -> Stream | None:
        return self._streams.get((device, camera))

    def forget(self, device: str, camera: str) -> None:
        """The descriptor was removed."""
        self._streams.pop((device, camera), None)

    def describe(self, device: str, camera: str, descriptor: Descriptor) -> None:
        """Take the descriptor that came under the topic of that device and camera.

        One of the session and bundle known already changes nothing: it is retained, and comes again
        with each connection. Raises PayloadMalformed when it speaks of another camera, or when
        there are too many streams.
        """
        if (descriptor.device, descriptor.camera) != (device, camera):
            raise PayloadMalformed(
                f"the descriptor under {device}/{camera} is of "
                f"{descriptor.device}/{descriptor.camera}"
            )
        known = self._streams.get((device, camera))
        stream = self._stream(descriptor)
        if known is not None and _same(known, stream):
            known.cloud = stream.cloud
            return
        if known is None and len(self._streams) >= self._max_streams:
            raise PayloadMalformed(
                f"{device}/{camera} would be stream {len(self._streams) + 1} of at most "
                f"{self._max_streams}"
            )
        self._streams[device, camera] = stream
        self._tell(descriptor, stream)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def usable(self) -> int:
        """How many streams are coded for a bundle of ours."""
        return sum(stream.coding is not None for stream in list(self._streams.values()))

    def _stream(self, descriptor: Descriptor) -> Stream:
        device, camera, epoch_ms = descriptor.device, descriptor.camera, descriptor.epoch_ms
        return Stream(
            key=StreamKey(device, camera, epoch_ms),
            context=Context(device, camera, epoch_ms, self._device_keys.get(device)),
            cloud=descriptor.mode != "split",
            coding=self._codings.get(descriptor.bundle),
            bundle=f"{descriptor.bundle_name} ({descriptor.bundle[:12]})",
        )

    def _tell(self, descriptor: Descriptor, stream: Stream) -> None:
        """Say once per stream what a person should know about it."""
        where = f"{descriptor.device}/{descriptor.camera}"
        signs, has_key = descriptor.authentication != "crc16", stream.context.key is not None
        if stream.coding is None:
            log.warning(
                "%s sends frames for bundle %s, this node decodes %s; they are dropped",
                where,
                stream.bundle,
                ", ".join(bundle_id[:12] for bundle_id in self._codings),
            )
        elif signs != has_key:
            how = "signs, and this node has no key of it" if signs else "does not sign, but should"
            log.warning("%s %s; its frames are dropped", where, how)
        else:
            log.info("%s: session %d", where, descriptor.epoch_ms)


def _same(one: Stream, other: Stream) -> bool:
    return one.key == other.key and one.bundle == other.bundle

"""Small pictures of frames that are captioned, for people to see; seldom. Knows no MQTT.

Like every picture they come from a `Pixels`, and there is none without `allow_images`. Nothing is
kept: a picture that cannot leave now is dropped, as the next one shows more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

from aiflow.common.mqtt import OnAccepted, Reason
from aiflow.device.camera import Image
from aiflow.device.pixels import Pixels

QUALITY: Final = 60
MAX_WIDTH: Final = 320
MAX_BYTES: Final = 49_152
"""Less than any broker that `aiflow enroll` has set up takes."""


class Publishes(Protocol):
    """Gives a picture to the broker; the bytes that it costs, 0 if it takes none now."""

    def __call__(self, jpeg: bytes, on_accepted: OnAccepted) -> int: ...


class Snapshots:
    """One camera's; used by one thread, and answered on any."""

    def __init__(
        self,
        camera: str,
        every_s: float,
        publish: Publishes,
        *,
        allowed: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """At most one in `every_s`. Raises ConfigError unless the owner of the device allows it."""
        self._pixels = Pixels(
            allowed=allowed,
            what=f"snapshot_every_s of camera {camera}",
            quality=QUALITY,
            max_width=MAX_WIDTH,
            max_bytes=MAX_BYTES,
        )
        self._every_s = every_s
        self._publish = publish
        self._clock = clock
        self._taken_at: float | None = None
        self._under_way = False

    def take(self, image: Image) -> int:
        """Publish a frame, uint8 (H, W, 3) BGR, if one is due; the bytes that it costs.

        None is due while the broker has not answered to the last one: a line that is slower than
        that must not fill with pictures. Raises AiflowError for a frame that fits no payload.
        """
        now = self._clock()
        if self._under_way or (self._taken_at is not None and now < self._taken_at + self._every_s):
            return 0
        self._taken_at = now
        jpeg = self._pixels.jpeg(image)
        self._under_way = True  # before the answer, which may come first
        size = self._publish(jpeg, self._answered)
        if size == 0:
            self._under_way = False
        return size

    def _answered(self, _reason: Reason | None) -> None:
        """A refusal is an error in the session's log; the next one is tried all the same."""
        self._under_way = False

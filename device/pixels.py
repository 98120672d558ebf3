"""Frames as JPEG: the only code of a device that lets pixels leave it, and only if its owner may.

Whoever wants to send a picture needs a `Pixels`, and there is none without `allow_images`.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from aiflow.common.encoder import Image
from aiflow.common.errors import AiflowError, ConfigError
from aiflow.common.wire import MAX_IMAGE_BYTES

ENVELOPE_BYTES: Final = 64
"""Room for what a payload adds to its picture."""
LEAST_QUALITY: Final = 10


class Pixels:
    """Makes pictures of frames."""

    def __init__(
        self,
        *,
        allowed: bool,
        what: str,
        quality: int,
        max_width: int,
        max_bytes: int = MAX_IMAGE_BYTES - ENVELOPE_BYTES,
    ) -> None:
        """`what` wants them. Raises ConfigError unless the owner of the device allows it."""
        if not allowed:
            raise ConfigError(f"{what} sends pictures; allow it by allow_images = true")
        self._quality = quality
        self._max_width = max_width
        self._max_bytes = max_bytes

    def jpeg(self, image: Image) -> bytes:
        """A frame, uint8 (H, W, 3) BGR, reduced to at most the width; coarser if it is too long.

        Raises AiflowError for one that fits no payload at all.
        """
        height, width = image.shape[:2]
        if width > self._max_width:
            size = (self._max_width, max(1, round(height * self._max_width / width)))
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        for quality in (self._quality, self._quality // 2, LEAST_QUALITY):
            coded, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if coded and len(data) <= self._max_bytes:
                return data.tobytes()
        raise AiflowError(f"a picture of {width}x{height} pixels fits no payload; lower max_width")

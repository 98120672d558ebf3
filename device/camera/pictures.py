"""Single pictures, decoded; one that is too large for a slot is shrunk while it is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Final, cast

import numpy as np

from aiflow.device.camera.base import Image
from aiflow.device.camera.opencv import module
from aiflow.device.camera.ring import MAX_FRAME_BYTES

MAX_FILE_BYTES: Final = 256 * 1024 * 1024


def read(path: Path) -> Image | None:
    """A file's picture; None if it cannot be read or decoded, or is too large."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        return decoded(path.read_bytes())
    except OSError:  # a folder with such a name, or a file that was just deleted
        return None


def decoded(data: bytes) -> Image | None:
    """A picture file's content; None if it cannot be decoded, or shrunk enough.

    The JPEG decoder halves a picture up to three times, and needs memory only for the result. Of
    other formats OpenCV refuses a large one before it takes memory (`opencv.module`).
    """
    cv2 = module()
    coded = np.frombuffer(data, np.uint8)
    for way in (
        cv2.IMREAD_COLOR,
        cv2.IMREAD_REDUCED_COLOR_2,
        cv2.IMREAD_REDUCED_COLOR_4,
        cv2.IMREAD_REDUCED_COLOR_8,
    ):
        try:
            image = cv2.imdecode(coded, way)
        except cv2.error:
            continue
        if image is None or image.dtype != np.uint8:
            return None
        if image.nbytes <= MAX_FRAME_BYTES:
            return cast("Image", image)
    return None

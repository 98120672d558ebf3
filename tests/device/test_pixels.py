from __future__ import annotations

import cv2
import numpy as np
import pytest

from aiflow.common.errors import AiflowError, ConfigError
from aiflow.common.wire import MAX_IMAGE_BYTES
from aiflow.device.pixels import Pixels


def noise(width: int, height: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def test_there_is_none_without_the_owners_word() -> None:
    with pytest.raises(
        ConfigError, match="mode = image sends pictures; allow it by allow_images = true"
    ):
        Pixels(allowed=False, what="mode = image", quality=75, max_width=640)


def test_wide_frames_are_reduced_and_others_left_as_they_are() -> None:
    pixels = Pixels(allowed=True, what="a test", quality=75, max_width=320)
    for width, height, seen in ((640, 480, (240, 320)), (200, 100, (100, 200))):
        jpeg = pixels.jpeg(noise(width, height))
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        assert image.shape[:2] == seen


def test_what_is_too_long_gets_coarser_and_what_stays_so_is_refused() -> None:
    pixels = Pixels(allowed=True, what="a test", quality=100, max_width=4096)
    assert len(pixels.jpeg(noise(640, 480))) < MAX_IMAGE_BYTES
    with pytest.raises(AiflowError, match="lower max_width"):
        pixels.jpeg(noise(3000, 3000))


def test_pictures_are_held_to_a_length_that_is_wanted() -> None:
    pixels = Pixels(allowed=True, what="a test", quality=90, max_width=320, max_bytes=20_000)
    assert len(pixels.jpeg(noise(320, 240))) <= 20_000

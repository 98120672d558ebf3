"""Image codecs at their best: JPEG, WebP and AVIF over resolution and quality.

    picture -> reduced (area) -> coded -> decoded -> enlarged to the encoder's input -> symbols

Encoder efforts are high ones: optimized Huffman tables for JPEG, method 6 for WebP, speed 6 for
AVIF (8 above the encoder's own resolution, where 6 would take half a second a picture).
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from aiflow.bench.baselines.split import FloatEncoder
from aiflow.bench.baselines.way import Carried, Picture

SIZES: Final = (
    (640, 480), (320, 240), (240, 180), (160, 120), (120, 90), (96, 72), (80, 60),
)  # fmt: skip
QUALITIES: Final = {
    "jpeg": (5, 10, 20, 30, 45, 60, 75, 90),
    "webp": (0, 10, 25, 40, 55, 70, 85),
    "avif": (10, 25, 40, 55, 70, 85),
}
CODECS: Final = tuple(QUALITIES)
_SLOW_WIDTH: Final = 160


@dataclass(frozen=True, slots=True)
class ImageWay:
    """An image codec at a size (width, height) and a quality."""

    encoder: FloatEncoder
    family: str
    size: tuple[int, int]
    quality: int

    @property
    def setting(self) -> str:
        return f"{self.size[0]}x{self.size[1]} quality {self.quality}"

    def at(self, quality: int) -> ImageWay:
        """The same at another quality."""
        return replace(self, quality=quality)

    def carry(self, picture: Picture) -> Carried:
        data = encode(picture.image, self.family, self.size, self.quality)
        return Carried(
            self.encoder.see(decode(data)), len(data), len(data) - overhead(data, self.family)
        )


def all_ways(encoder: FloatEncoder) -> list[ImageWay]:
    """The whole grid."""
    return [
        ImageWay(encoder, codec, size, quality)
        for codec in CODECS
        for size in SIZES
        for quality in QUALITIES[codec]
    ]


def encode(image: NDArray[np.uint8], codec: str, size: tuple[int, int], quality: int) -> bytes:
    """Reduce a BGR picture to (width, height) and code it."""
    if image.shape[1::-1] != size:
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    options: dict[str, dict[str, Any]] = {
        "jpeg": {"optimize": True},
        "webp": {"method": 6},
        "avif": {"speed": 6 if size[0] <= _SLOW_WIDTH else 8, "max_threads": 1},
    }
    buffer = io.BytesIO()
    rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    Image.fromarray(rgb).save(buffer, codec, quality=quality, **options[codec])
    return buffer.getvalue()


def decode(data: bytes) -> NDArray[np.uint8]:
    """A coded picture as uint8 (H, W, 3) BGR."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = np.asarray(image.convert("RGB"))
    return np.ascontiguousarray(rgb[..., ::-1])


def overhead(data: bytes, codec: str) -> int:
    """Bytes that two ends could agree on beforehand: the container and its fixed headers.

    JPEG: everything but the scan (so the Huffman and quantization tables too, which favours it);
    WebP: RIFF and frame headers; AVIF: everything but the `mdat` box's content.
    """
    if codec == "jpeg":
        scan = data.index(b"\xff\xda")
        return scan + 2 + int.from_bytes(data[scan + 2 : scan + 4], "big") + 2
    if codec == "webp":
        return 12 + 8 + 10
    return len(data) - _mdat_bytes(data)


def _mdat_bytes(data: bytes) -> int:
    """Content of the `mdat` boxes of an ISO base media file."""
    at = content = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big") or len(data) - at
        if size < 8:
            break  # a 64-bit size: no picture here is that large
        if data[at + 4 : at + 8] == b"mdat":
            content += size - 8
        at += size
    return content

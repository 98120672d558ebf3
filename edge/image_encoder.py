"""Pictures become embeddings here, as they would have on their device.

    picture -> JPEG, bounded -> the bundle's encoder -> symbols -> the frame's key payload

What follows is the same as for any frame: the cloud is asked with the embedding, never the picture.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from aiflow.common.encoder import Encoder, Image
from aiflow.common.errors import PayloadMalformed
from aiflow.common.symbols import Decoded, key_payload
from aiflow.edge.received import EmbeddingFrame, PictureFrame

MAX_PIXELS: Final = 4096 * 4096
"""Of a picture; more would be a bomb."""
_SIZE: Final = struct.Struct(">HH")
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class ImageEncoder:
    """Encodes pictures on the decoding thread; a bundle's encoder is loaded with its first one."""

    def __init__(self, load: Callable[[str], Encoder]) -> None:
        """`load` gets a bundle's id."""
        self._load = load
        self._encoders: dict[str, Encoder] = {}

    def encode(self, picture: PictureFrame) -> EmbeddingFrame:
        """Raises PayloadMalformed for what is no picture, and BundleError without an encoder."""
        image = decoded(picture.jpeg)
        bundle_id, tables = picture.coding.bundle_id, picture.coding.tables
        if bundle_id not in self._encoders:
            self._encoders[bundle_id] = self._load(bundle_id)
        symbols = self._encoders[bundle_id].encode(image).symbols
        header = replace(picture.header, layers=len(tables.layers))
        return EmbeddingFrame(
            **picture.known(),
            decoded=Decoded(symbols, symbols),
            header=header,
            payloads=(key_payload(header, symbols, tables, picture.context),),
            context=picture.context,
            pictured=True,
        )


def decoded(jpeg: bytes) -> Image:
    """A JPEG as uint8 (H, W, 3) BGR; PayloadMalformed if it is none, or too large."""
    width, height = _size(jpeg)
    if not 0 < width * height <= MAX_PIXELS:
        raise PayloadMalformed(f"a picture of {width}x{height} pixels")
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise PayloadMalformed("a JPEG that cannot be decoded")
    return np.asarray(image, np.uint8)


def _size(jpeg: bytes) -> tuple[int, int]:
    """Width and height, from the frame header: looked at before anything is allocated."""
    at = 2
    while at + 9 <= len(jpeg):
        if jpeg[at] != 0xFF:
            break
        marker = jpeg[at + 1]
        if marker in _FRAMES:
            height, width = _SIZE.unpack_from(jpeg, at + 5)
            return width, height
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    raise PayloadMalformed("a JPEG without a frame header")

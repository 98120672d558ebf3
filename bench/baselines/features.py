"""The simplest split computing: the encoder's features through zstd, and our symbols as they are.

Each channel of the features is scaled to its own range on the calibration split. With 8 bits this
is what most demonstrations send; with fewer it is a fairer one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from aiflow.bench.baselines.split import Cut, FloatEncoder
from aiflow.bench.baselines.way import Carried, Picture

BITS: Final = (8, 6, 5, 4, 3, 2)
_LEVEL: Final = 19
_FRAME_BYTES: Final = 6
"""Of zstd's own frame: magic number, descriptor and size."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureWay:
    """Features at one of the two cuts in `bits` bits a value; `low` and `step` per channel."""

    encoder: FloatEncoder
    cut: Cut
    bits: int
    low: NDArray[np.float32]
    step: NDArray[np.float32]

    @property
    def family(self) -> str:
        return "features"

    @property
    def setting(self) -> str:
        return f"{self.cut} in {self.bits} bits"

    def carry(self, picture: Picture) -> Carried:
        features = picture.features[self.cut]
        data = self.encode(features)
        symbols = self.encoder.finish(self.decode(data, features.shape), self.cut)
        return Carried(symbols, len(data), len(data) - _FRAME_BYTES)

    def encode(self, features: NDArray[np.float32]) -> bytes:
        """Quantize features (..., channels) and compress them, channel after channel."""
        top = 2**self.bits - 1
        levels = np.clip(np.rint((features - self.low) / self.step), 0, top).astype(np.uint8)
        planes = np.moveaxis(levels, -1, 0)
        data: bytes = zstandard.ZstdCompressor(level=_LEVEL).compress(planes.tobytes())
        return data

    def decode(self, data: bytes, shape: tuple[int, ...]) -> NDArray[np.float32]:
        raw = zstandard.ZstdDecompressor().decompress(data)
        planes = np.frombuffer(raw, np.uint8).reshape(shape[-1], *shape[:-1])
        levels = np.moveaxis(planes, 0, -1).astype(np.float32)
        return np.ascontiguousarray(levels * self.step + self.low)


@dataclass(frozen=True, slots=True)
class FixedWay:
    """Our own symbols without a codec, as FSQ is usually sent: an index for each token.

    It has ceil(log2(product of its levels)) bits, and indices are packed.
    """

    levels: tuple[int, ...]
    tokens: int

    @property
    def family(self) -> str:
        return "fixed"

    @property
    def setting(self) -> str:
        return f"{self.tokens} tokens of {self.token_bits} bits"

    @property
    def token_bits(self) -> int:
        return math.ceil(math.log2(math.prod(self.levels)))

    def carry(self, picture: Picture) -> Carried:
        size = math.ceil(self.tokens * self.token_bits / 8)
        return Carried(picture.symbols, size, size)


def all_ways(encoder: FloatEncoder, calibration: Sequence[Picture]) -> list[FeatureWay]:
    """Both cuts in every number of bits, scaled on pictures of the calibration split."""
    ways = []
    cuts: tuple[Cut, ...] = ("map", "pooled")
    for cut in cuts:
        seen = np.stack([picture.features[cut] for picture in calibration])
        flat = seen.reshape(-1, seen.shape[-1])
        low, high = flat.min(0), flat.max(0)
        for bits in BITS:
            # A channel that never moves still needs a step.
            step = np.maximum((high - low) / (2**bits - 1), 1e-6).astype(np.float32)
            ways.append(FeatureWay(encoder, cut, bits, low, step))
    return ways

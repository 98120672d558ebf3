"""What every baseline is: a way to carry a picture to the decoder in some number of bytes.

Picture ── Way.carry ──> symbols as they come out at the far end, bytes that travelled
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.baselines.split import Cut, FloatEncoder

Symbols = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a camera saw, and what the float encoder makes of it without any loss.

    `image` uint8 (480, 640, 3) BGR; `features` float32 (rows, columns, C) at each cut of the
    encoder; `symbols` (K, D).
    """

    image: NDArray[np.uint8]
    features: Mapping[Cut, NDArray[np.float32]]
    symbols: Symbols

    @classmethod
    def of(cls, image: NDArray[np.uint8], encoder: FloatEncoder) -> Picture:
        features = encoder.features(image)
        return cls(image, features, encoder.finish(features["map"]))


@dataclass(frozen=True, slots=True, eq=False)
class Carried:
    """What came out at the far end, uint8 (K, D), and how many bytes it took.

    `bare_bytes`: without what every message of this way has alike (a container's header).
    """

    symbols: Symbols
    size_bytes: int
    bare_bytes: int


class Way(Protocol):
    """One codec with one setting. `carry` may be called by several threads."""

    @property
    def family(self) -> str:
        """The codec's name, like `webp`."""
        ...

    @property
    def setting(self) -> str:
        """For people, like `160x120 quality 40`."""
        ...

    def carry(self, picture: Picture) -> Carried:
        """Code, decode, and finish the encoder's work on what is left of the picture."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Trip:
    """One way's result on a sequence of pictures: symbols (N, K, D), bytes int64 (N,) each."""

    symbols: Symbols
    size_bytes: NDArray[np.int64]
    bare_bytes: NDArray[np.int64]

    @classmethod
    def of(cls, carried: Sequence[Carried]) -> Trip:
        return cls(
            np.stack([one.symbols for one in carried]),
            np.array([one.size_bytes for one in carried], np.int64),
            np.array([one.bare_bytes for one in carried], np.int64),
        )

    @classmethod
    def joined(cls, trips: Sequence[Trip]) -> Trip:
        """One after the other."""
        return cls(
            np.concatenate([one.symbols for one in trips]),
            np.concatenate([one.size_bytes for one in trips]),
            np.concatenate([one.bare_bytes for one in trips]),
        )


def send(ways: Sequence[Way], pictures: Sequence[Picture], pool: ThreadPoolExecutor) -> list[Trip]:
    """Carry every picture by every way.

    Codecs and inference run outside of Python's lock, so the pool's threads help.
    """

    def by_all(picture: Picture) -> list[Carried]:
        return [way.carry(picture) for way in ways]

    rows = list(pool.map(by_all, pictures))
    return [Trip.of([row[index] for row in rows]) for index in range(len(ways))]

"""Our own symbols without a codec: fixed-width indices, as FSQ is usually sent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiflow.bench.baselines.way import Carried, Picture


@dataclass(frozen=True, slots=True)
class FixedWay:
    """Each token as one index of ceil(log2(product of its levels)) bits, packed."""

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

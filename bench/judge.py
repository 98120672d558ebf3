"""The same judge for every way of sending a picture: caption what arrived, score the captions.

symbols (N, K, D) -> cloud decoder (each different frame once) -> facts F1, CIDEr-D
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.captions import REFERENCES, Scores, score
from aiflow.common.captioner import Request, WritesCaptions
from aiflow.street import splits
from aiflow.street.grammar import parse, references
from aiflow.street.scene import Fact, Scene, facts_score

BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Answers:
    """What is true of scenes, and how people would put it."""

    truths: Sequence[frozenset[Fact]]
    references: Sequence[Sequence[str]]

    @classmethod
    def of(cls, scenes: Sequence[Scene], split: str, seed: int) -> Answers:
        """Five references each, written by the split's own generators."""
        rngs = [splits.rng(split, seed, (1 << 40) + index) for index in range(len(scenes))]
        return cls(
            [scene.facts() for scene in scenes],
            [references(scene, rng, REFERENCES) for scene, rng in zip(scenes, rngs, strict=True)],
        )

    def first(self, count: int) -> Answers:
        return Answers(self.truths[:count], self.references[:count])


class Judge:
    """A decoder that has read each different frame once, and remembers what it said."""

    def __init__(self, captions: WritesCaptions, tokens: int) -> None:
        """`tokens` of each frame are shown to the decoder, which is what its tier is given."""
        self._captions = captions
        self._tokens = tokens
        self._said: dict[bytes, str] = {}

    def texts(self, symbols: NDArray[np.uint8]) -> list[str]:
        """Captions of frames (N, K, D)."""
        rows = [np.ascontiguousarray(frame[: self._tokens]) for frame in symbols]
        keys = [row.tobytes() for row in rows]
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in self._said}
        waiting = list(new.items())
        for start in range(0, len(waiting), BATCH):
            batch = waiting[start : start + BATCH]
            drafts = self._captions.caption([Request(row) for _, row in batch])
            for (key, _), draft in zip(batch, drafts, strict=True):
                self._said[key] = draft.text
        return [self._said[key] for key in keys]

    def score(self, symbols: NDArray[np.uint8], answers: Answers) -> Scores:
        """Score frames (N, K, D) against the answers of the same N scenes."""
        return score(self.texts(symbols), answers.truths, answers.references)

    def fact_f1(self, symbols: NDArray[np.uint8], scenes: Sequence[Scene]) -> float:
        """F1 alone, where there are no references."""
        texts = self.texts(symbols)
        pairs = ((parse(text), scene.facts()) for text, scene in zip(texts, scenes, strict=True))
        return facts_score(pairs).f1

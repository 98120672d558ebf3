"""How good captions are: facts against the street's truth, words against references.

The same judge for every way of sending a picture: caption what arrived, score the captions.

symbols (N, K, D) -> cloud decoder (each different frame once) -> facts F1, CIDEr-D
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from aiflow.common.captioner import Request, WritesCaptions
from aiflow.street import splits
from aiflow.street.grammar import parse, references
from aiflow.street.scene import Fact, Scene, facts_score

RESAMPLES: Final = 1000
REFERENCES: Final = 5
BATCH: Final = 32


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Per-scene scores of captions; every array is float64 (N,)."""

    right: NDArray[np.float64]
    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    exact: NDArray[np.float64]
    cider: NDArray[np.float64]
    bleu4: float

    @property
    def fact_f1(self) -> float:
        return _f1(self.right, self.predicted, self.true)

    def as_json(self, seed: int = 0) -> dict[str, object]:
        """Figures with their intervals."""
        rng = np.random.default_rng(seed)
        rows = rng.integers(0, len(self.right), (RESAMPLES, len(self.right)))
        f1 = [_f1(self.right[r], self.predicted[r], self.true[r]) for r in rows]
        return {
            "fact_f1": round(self.fact_f1, 4),
            "fact_f1_interval": interval(f1),
            "fact_precision": round(float(self.right.sum() / max(self.predicted.sum(), 1)), 4),
            "fact_recall": round(float(self.right.sum() / self.true.sum()), 4),
            "exact_rate": round(float(self.exact.mean()), 4),
            "exact_rate_interval": interval(self.exact[rows].mean(1)),
            "cider": round(float(self.cider.mean()), 4),
            "cider_interval": interval(self.cider[rows].mean(1)),
            "bleu4": round(self.bleu4, 4),
        }


def score(
    texts: Sequence[str], truths: Sequence[frozenset[Fact]], references: Sequence[Sequence[str]]
) -> Scores:
    """Score captions against the facts of their scenes and against reference captions.

    CIDEr-D (Vedantam et al., 1411.5726) and BLEU-4 as pycocoevalcap computes them; the
    references of all scenes together are the corpus of its document frequencies.
    """
    facts = [parse(text) for text in texts]
    gts = {i: [_words(text) for text in refs] for i, refs in enumerate(references)}
    res = {i: [_words(text)] for i, text in enumerate(texts)}
    _, cider = Cider().compute_score(gts, res)
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    return Scores(
        right=np.array([len(f & t) for f, t in zip(facts, truths, strict=True)], float),
        predicted=np.array([len(f) for f in facts], float),
        true=np.array([len(t) for t in truths], float),
        exact=np.array([f == t for f, t in zip(facts, truths, strict=True)], float),
        cider=np.asarray(cider, float),
        bleu4=float(bleu[3]),
    )


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _f1(
    right: NDArray[np.float64], predicted: NDArray[np.float64], true: NDArray[np.float64]
) -> float:
    return float(2 * right.sum() / max(predicted.sum() + true.sum(), 1))


def interval(values: Sequence[float] | NDArray[np.float64]) -> list[float]:
    """Lower and upper bound of the middle 95%."""
    low, high = np.quantile(values, [0.025, 0.975])
    return [round(float(low), 4), round(float(high), 4)]


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

"""How good captions are: facts against the street's truth, words against references."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider

from aiflow.street.grammar import parse
from aiflow.street.scene import Fact

RESAMPLES = 1000
REFERENCES = 5


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

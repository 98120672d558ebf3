"""CIDEr-D (Vedantam et al., 1411.5726) of single captions, quick enough to be a reward.

n-grams of 1 to 4 words weighted by their rarity among the references; cosine with clipped counts,
times a penalty for another length. The same figures as pycocoevalcap's, given the same words.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

Words = Sequence[str]
_LONGEST: Final = 4
_SIGMA: Final = 6.0
_Gram = tuple[str, ...]
_Vector = tuple[list[dict[_Gram, float]], list[float], int]


class CiderD:
    """Scores captions against the references of a photo, which are known by its index."""

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        """`references[i]` are those of photo i; rarity is counted over all of them."""
        documents: Counter[_Gram] = Counter()
        for of_photo in references:
            documents.update({gram for said in of_photo for gram in _grams(said)})
        self._unseen = math.log(len(references))
        self._rarity = {gram: self._unseen - math.log(n) for gram, n in documents.items()}
        self._references = [[self._vector(said) for said in photo] for photo in references]

    def score(self, photo: int, said: Words) -> float:
        """CIDEr-D of one caption, 0 to 10."""
        weights, norms, length = self._vector(said)
        total = 0.0
        for other, other_norms, other_length in self._references[photo]:
            likeness = sum(
                sum(min(w, b[gram]) * b[gram] for gram, w in a.items() if gram in b) / (na * nb)
                for a, b, na, nb in zip(weights, other, norms, other_norms, strict=True)
                if na and nb
            )
            total += likeness * math.exp(-((length - other_length) ** 2) / (2 * _SIGMA**2))
        return 10.0 * total / _LONGEST / len(self._references[photo])

    def _vector(self, said: Words) -> _Vector:
        weights: list[dict[_Gram, float]] = [{} for _ in range(_LONGEST)]
        for gram, count in _grams(said).items():
            weights[len(gram) - 1][gram] = count * self._rarity.get(gram, self._unseen)
        norms = [math.sqrt(sum(w * w for w in of_length.values())) for of_length in weights]
        return weights, norms, max(len(said) - 1, 0)


def _grams(said: Words) -> Counter[_Gram]:
    return Counter(
        tuple(said[at : at + n]) for n in range(1, _LONGEST + 1) for at in range(len(said) - n + 1)
    )

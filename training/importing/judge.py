"""How much of a captioner is left behind the codec, on images that nothing was fitted to.

There is no truth to hold captions against. What an imported bundle can know is whether the caption
from the symbols is the one that the whole, uncompressed model gives: that is what "right" means
here, what confidence is calibrated to, and what the figures count.

    images -> whole model -> captions, merged tokens       (`look`, before there is a bundle)
    symbols -> bundle -> captions, held against those      (`Comparison`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle, Calibration
from aiflow.common.captioner import Captioner
from aiflow.common.codec import compress
from aiflow.common.greedy import END
from aiflow.street.scene import Fact
from aiflow.training.calibrate import (
    FOLDS,
    Said,
    cross_validated_ece,
    escalate_below,
    fit_logistic,
    listen,
    logit,
)
from aiflow.training.importing.codec import Codec, Merge
from aiflow.training.importing.model import Foreign
from aiflow.training.importing.pictures import OwnImages, held_out
from aiflow.training.progress import Bar

Symbols = Sequence[NDArray[np.uint8]]
_Of = TypeVar("_Of")

BATCH: Final = 8
"""Images that the whole model sees at once."""

LEAST_A_FOLD: Final = 8
"""Captions in each fifth, or their calibration error is noise."""
TIER: Final = "edge"
"""All tiers have the same decoder; one of them is asked."""


@dataclass(frozen=True, slots=True, eq=False)
class WholeModel:
    """Of M images: merged tokens (M, K, D), captions as ids, and which are held out (M,)."""

    tokens: torch.Tensor
    captions: list[list[int]]
    held: NDArray[np.bool_]

    def fitted_to(self, of_images: Sequence[_Of]) -> list[_Of]:
        """What belongs to the images that may be fitted to."""
        return [one for one, held in zip(of_images, self.held, strict=True) if not held]

    def held_out(self, of_images: Sequence[_Of]) -> list[_Of]:
        """What belongs to the others."""
        return [one for one, held in zip(of_images, self.held, strict=True) if held]


@torch.no_grad()
def look(foreign: Foreign, pictures: OwnImages, merge: Merge) -> WholeModel:
    """Run the whole model on all images."""
    tokens: list[torch.Tensor] = []
    captions: list[list[int]] = []
    with Bar("run the whole model, images", len(pictures)) as bar:
        for batch in _batches(pictures, foreign.size):
            hidden = foreign.vision(torch.from_numpy(batch).float())
            tokens.append(merge(hidden))
            captions += foreign.caption(hidden)
            bar.show(len(captions))
    return WholeModel(torch.cat(tokens), captions, held_out(len(pictures)))


def _batches(pictures: OwnImages, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    waiting: list[NDArray[np.uint8]] = []
    for image in pictures.read(size):
        waiting.append(image)
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)


@dataclass(frozen=True, slots=True)
class Compared:
    """Calibration by the layers at hand, figures in the form of a manifest, and a threshold.

    Asking for the layers that were not sent is worth most below `refine_below`.
    """

    calibration: tuple[Calibration, ...]
    figures: dict[str, Any]
    refine_below: float


class Comparison:
    """Knows what the whole model says of the images that are held out."""

    def __init__(self, bundle: Bundle, captions: Sequence[Sequence[int]], threads: int) -> None:
        """`captions` are token ids, with or without END."""
        self._bundle = bundle
        self._captioner = Captioner(bundle, TIER, threads)
        kept = [_until_end(ids)[: self._captioner.facts.max_tokens] for ids in captions]
        self._truth = [stated(self._captioner.decode(ids)) for ids in kept]

    def judge(self, symbols: Symbols) -> Compared:
        """Caption symbols (K, R) of each image from every number of layers."""
        heard = [self._hear(symbols, layers) for layers in range(1, len(self._bundle.layers) + 1)]
        fits = []
        for said in heard:
            slope, intercept = fit_logistic(logit(said.raw), said.right)
            fits.append(Calibration(slope=slope, intercept=intercept))
        by_layers = {str(n): self._figures(said) for n, said in enumerate(heard, start=1)}
        return Compared(
            tuple(fits),
            {**by_layers[str(len(heard))], "by_layers": by_layers},
            escalate_below(heard[0], heard[-1], self._truth, fits[0]),
        )

    def exact(self, symbols: Symbols) -> float:
        """Share of captions from all symbols that are the whole model's."""
        return round(float(self._hear(symbols, len(self._bundle.layers)).right.mean()), 4)

    def _hear(self, symbols: Symbols, layers: int) -> Said:
        given = [rows[: self._bundle.layers[layers - 1]] for rows in symbols]
        return listen(self._captioner, given, self._truth, f"from {layers} layers", stated)

    def _figures(self, said: Said) -> dict[str, float]:
        words = map(words_in_common, said.facts, self._truth)
        figures = {
            "exact": round(float(said.right.mean()), 4),
            "words": round(float(np.mean(list(words))), 4),
        }
        if len(said.raw) >= LEAST_A_FOLD * FOLDS:
            figures["ece"] = round(cross_validated_ece(said), 4)
        return figures


def stated(text: str) -> frozenset[Fact]:
    """A caption as the one fact that it is."""
    return frozenset({("caption", text)})


def bytes_by_layers(bundle: Bundle, symbols: Symbols) -> dict[str, float]:
    """Mean bytes of a frame's body; the payload around it has some ten more (docs/wire.md)."""
    return {
        str(layers): round(
            float(np.mean([len(compress(s, bundle.tables, layers=layers)) for s in symbols])), 1
        )
        for layers in range(1, len(bundle.layers) + 1)
    }


@torch.no_grad()
def errors_by_stage(codec: Codec, tokens: torch.Tensor) -> list[float]:
    """Share of the variance of merged tokens (M, K, D) that is missing after each stage."""
    symbols = codec.encode(tokens)
    whole = float(((tokens - codec.mean) ** 2).sum())
    errors = []
    for stages in range(1, codec.stages + 1):
        first = Codec(codec.mean, codec.basis, codec.codebooks[:stages])
        missing = float(((tokens - first(symbols[..., :stages])) ** 2).sum())
        errors.append(round(missing / max(whole, 1e-12), 4))
    return errors


def words_in_common(said: frozenset[Fact], wanted: frozenset[Fact]) -> float:
    """Twice the words that two captions share, by the words of both: 1 if they are the same."""
    (one,), (other,) = (
        [Counter(text.split()) for _, text in caption] for caption in (said, wanted)
    )
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def _until_end(ids: Sequence[int]) -> list[int]:
    tokens = list(ids)
    return tokens[: tokens.index(END)] if END in tokens else tokens

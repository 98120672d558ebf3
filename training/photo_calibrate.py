"""Calibrate what the tiers say of photos, on photos that no training saw.

    encoder -> decoder on each number of layers -> captions -> every object right, or not
                                                      |
    confidence: logistic fit (Platt)   escalate_below: where the cascade's CIDEr-D is best

A confidence predicts that every object word of the caption stands in one of the references, in
this or another word for the same (as CHAIR has it, Rohrbach et al., 1809.02156).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle, Calibration, Manifest
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.encoder import Encoder
from aiflow.training.calibrate import (
    BATCH,
    confidence_of,
    expected_calibration_error,
    fit_logistic,
    held_out_confidence,
    logit,
)
from aiflow.training.cider import CiderD
from aiflow.training.photo_data import words
from aiflow.training.progress import Bar

MOST_ESCALATED: Final = 0.4
STEP: Final = 10
"""Captions between two shares that are tried."""

References = Sequence[Sequence[tuple[str, ...]]]


@cache
def objects() -> dict[str, int]:
    """Words for things, each with the number of its group: words of one group mean the same."""
    lines = files("aiflow.training").joinpath("objects.txt").read_text(encoding="utf-8").split("\n")
    groups = [line.split() for line in lines if line and not line.startswith("#")]
    return {word: number for number, group in enumerate(groups) for word in group}


def named(caption: Sequence[str]) -> set[int]:
    """The groups of things that a caption names."""
    known = objects()
    return {known[word] for word in caption if word in known}


def objects_of(references: Sequence[Sequence[str]]) -> set[int]:
    """The groups of things that any of a photo's references names."""
    return set().union(*(named(said) for said in references))


def meanings(vocabulary: Sequence[str]) -> tuple[list[int], list[int]]:
    """For each token, 0 where it is a word for a thing and else -1, and its group or -1."""
    known = objects()
    groups = [known.get(word, -1) for word in vocabulary]
    return [0 if group >= 0 else -1 for group in groups], groups


def calibrate(
    bundle: Bundle,
    manifest: Manifest,
    images: Sequence[NDArray[np.uint8]],
    references: References,
) -> Manifest:
    """Return the manifest with calibrated confidences, threshold and figures.

    The manifest's decoders are not calibrated yet.
    """
    encoder, judge = Encoder.load(bundle), CiderD(references)
    symbols = [encoder.encode(image).symbols for image in images]
    decoders, figures = dict(manifest.decoders), {}
    scores: dict[str, NDArray[np.float64]] = {}
    sure: dict[str, NDArray[np.float64]] = {}
    for tier, facts in manifest.decoders.items():
        captioner, fits, by_layers = Captioner(bundle, tier), [], {}
        for layers, tokens in enumerate(bundle.layers, start=1):
            drafts = say(captioner, [rows[:tokens] for rows in symbols], f"{tier}, {layers} layers")
            said = [words(draft.text) for draft in drafts]
            right = np.array(
                [named(one) <= objects_of(refs) for one, refs in zip(said, references, strict=True)]
            )
            raw = np.array([draft.confidence for draft in drafts])
            slope, intercept = fit_logistic(logit(raw), right)
            fits.append(Calibration(slope=slope, intercept=intercept))
            scores[tier] = np.array([judge.score(i, one) for i, one in enumerate(said)])
            sure[tier] = confidence_of(fits[-1], raw)
            held_out = held_out_confidence(raw, right)
            by_layers[str(layers)] = {
                "cider": round(float(scores[tier].mean()), 4),
                "exact": round(float(right.mean()), 4),
                "ece": round(expected_calibration_error(held_out, right), 4),
            }
        decoders[tier] = facts.model_copy(update={"calibration": tuple(fits)})
        figures[tier] = {**by_layers[str(facts.input_layers)], "by_layers": by_layers}
    threshold = manifest.escalate_below
    if {"edge", "cloud"} <= scores.keys():
        threshold = escalate_below(scores["edge"], scores["cloud"], sure["edge"])
    return manifest.model_copy(
        update={
            "decoders": decoders,
            "escalate_below": threshold,
            "figures": {"split": "dev", "photos": len(images), **figures},
        }
    )


def say(captioner: Captioner, symbols: Sequence[NDArray[np.uint8]], label: str) -> list[Draft]:
    """Caption all photos."""
    drafts: list[Draft] = []
    with Bar(f"caption {label}", len(symbols)) as bar:
        for start in range(0, len(symbols), BATCH):
            drafts += captioner.caption([Request(rows) for rows in symbols[start : start + BATCH]])
            bar.show(len(drafts))
    return drafts


def escalate_below(
    edge: NDArray[np.float64], cloud: NDArray[np.float64], sure: NDArray[np.float64]
) -> float:
    """The threshold at which the cascade's CIDEr-D is best, the lowest of equally good ones.

    Captions are escalated in the order of their confidence, `MOST_ESCALATED` of them at most.
    """
    order = np.argsort(sure, kind="stable")
    gains = np.concatenate([[0.0], np.cumsum((cloud - edge)[order])])
    tried = np.arange(0, int(MOST_ESCALATED * len(order)) + 1, STEP)
    best = int(tried[int(gains[tried].argmax())])
    return round(float(sure[order[best]]), 3)

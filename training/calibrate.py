"""Calibrate what the tiers say of themselves, on scenes that no training saw.

    encoder -> decoder on each number of layers -> captions -> facts, right or wrong
                                                      |
    confidence: logistic fit (Platt)   escalate_below: where the cascade is best

What a confidence predicts is whether all facts of the caption are right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle, Calibration, Manifest
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.encoder import Encoder
from aiflow.street.grammar import parse
from aiflow.street.scene import Fact, facts_score
from aiflow.training import dataset
from aiflow.training.progress import Bar

BATCH: Final = 32
MOST_ESCALATED: Final = 0.3
"""Share of captions that the cloud is asked about at most, at the threshold that is suggested."""
STEP: Final = 16
"""Captions between two shares that are tried."""
FOLDS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What one decoder said of all calibration scenes; arrays (N,)."""

    facts: list[frozenset[Fact]]
    raw: NDArray[np.float64]
    """Confidence before calibration."""
    right: NDArray[np.bool_]


def calibrate(
    bundle: Bundle, manifest: Manifest, pictures: dataset.Spec, images: NDArray[np.uint8]
) -> Manifest:
    """Return the manifest with calibrated confidences, threshold and figures.

    `images` uint8 (N, H, W, 3) are the encoder-sized pictures of `pictures`; the manifest's
    decoders are not calibrated yet.
    """
    encoder = Encoder.load(bundle)
    symbols = [encoder.encode(image).symbols for image in images]
    truth = [scene.facts() for scene in dataset.scenes(pictures)]
    decoders, figures = dict(manifest.decoders), {}
    everything: dict[str, Said] = {}
    for tier, facts in manifest.decoders.items():
        fits, by_layers = [], {}
        captioner = Captioner(bundle, tier)
        for layers, tokens in enumerate(bundle.layers, start=1):
            given = [rows[:tokens] for rows in symbols]
            said = listen(captioner, given, truth, f"{tier}, {layers} layers")
            slope, intercept = fit_logistic(logit(said.raw), said.right)
            fits.append(Calibration(slope=slope, intercept=intercept))
            by_layers[str(layers)] = {
                "fact_f1": round(facts_score(zip(said.facts, truth, strict=True)).f1, 4),
                "exact": round(float(said.right.mean()), 4),
                "ece": round(cross_validated_ece(said), 4),
            }
            everything[tier] = said
        decoders[tier] = facts.model_copy(update={"calibration": tuple(fits)})
        figures[tier] = {**by_layers[str(facts.input_layers)], "by_layers": by_layers}
    threshold = manifest.escalate_below
    if {"edge", "cloud"} <= everything.keys():
        fit = decoders["edge"].calibration[-1]
        threshold = escalate_below(everything["edge"], everything["cloud"], truth, fit)
    return manifest.model_copy(
        update={
            "decoders": decoders,
            "escalate_below": threshold,
            "figures": {"split": "calibration", "scenes": len(images), **figures},
        }
    )


def listen(
    captioner: Captioner,
    symbols: Sequence[NDArray[np.uint8]],
    truth: Sequence[frozenset[Fact]],
    label: str,
    read: Callable[[str], frozenset[Fact]] = parse,
) -> Said:
    """Caption all scenes and hold what is said, as `read` understands it, against the truth."""
    drafts: list[Draft] = []
    with Bar(f"caption {label}", len(symbols)) as bar:
        for start in range(0, len(symbols), BATCH):
            batch = [Request(rows) for rows in symbols[start : start + BATCH]]
            drafts += captioner.caption(batch)
            bar.show(len(drafts))
    facts = [read(draft.text) for draft in drafts]
    return Said(
        facts,
        np.array([draft.confidence for draft in drafts]),
        np.array([said == true for said, true in zip(facts, truth, strict=True)]),
    )


def escalate_below(
    edge: Said, cloud: Said, truth: Sequence[frozenset[Fact]], fit: Calibration
) -> float:
    """The threshold at which the cascade's facts F1 is best, the lowest of equally good ones.

    Captions are escalated in the order of their confidence, the least first, `MOST_ESCALATED` of
    them at most.
    """
    confidence = confidence_of(fit, edge.raw)
    order = np.argsort(confidence, kind="stable")
    said = list(edge.facts)
    best_f1, best = -1.0, 0
    for asked in range(0, int(MOST_ESCALATED * len(order)) + 1, STEP):
        for index in order[max(asked - STEP, 0) : asked]:
            said[index] = cloud.facts[index]
        f1 = facts_score(zip(said, truth, strict=True)).f1
        if f1 > best_f1:
            best_f1, best = f1, asked
    return round(float(confidence[order[best]]), 3)


def cross_validated_ece(said: Said) -> float:
    """Expected calibration error of fits on four fifths, measured on the fifth left out."""
    return expected_calibration_error(held_out_confidence(said.raw, said.right), said.right)


def held_out_confidence(raw: NDArray[Any], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Confidence of each caption by a fit on the four fifths that it is not in."""
    x, calibrated = logit(raw), np.empty(len(raw))
    for fold in range(FOLDS):
        held = np.arange(len(x)) % FOLDS == fold
        slope, intercept = fit_logistic(x[~held], right[~held])
        calibrated[held] = _sigmoid(slope * x[held] + intercept)
    return calibrated


def confidence_of(fit: Calibration, raw: NDArray[Any]) -> NDArray[np.float64]:
    """Calibrated confidence of raw ones."""
    return _sigmoid(fit.slope * logit(raw) + fit.intercept)


def expected_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean distance between confidence and share of right, over equally wide bins.

    As in Guo et al., "On calibration of modern neural networks" (1706.04599).
    """
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = np.bincount(bin_of, confidence - right, minlength=bins)
    return float(np.abs(sums).sum() / len(confidence))


def fit_logistic(x: NDArray[Any], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit P(right) = sigmoid(slope * x + intercept) by Newton's method with a small ridge.

    Where x says the opposite of what it should, it says nothing: the share of right, slope 0.
    """
    features = np.stack([x, np.ones_like(x)], axis=1)
    # Platt's targets: a prior of one right and one wrong caption keeps a perfect tier finite.
    positive, negative = right.sum(), (~right).sum()
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(100):
        probability = _sigmoid(features @ weights)
        gradient = features.T @ (probability - target) + 1e-3 * (weights - [1.0, 0.0])
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features
        step = np.linalg.solve(curvature + 1e-3 * np.eye(2), gradient)
        # Where the curve is flat a whole step lands far beyond the best place: shorten it.
        before, share = _loss(features @ weights, target), 1.0
        while _loss(features @ (weights - share * step), target) > before and share > 1e-6:
            share /= 2
        weights = weights - share * step
        if float(np.abs(step).max()) < 1e-8:
            break
    if weights[0] < 0:
        return 0.0, round(float(logit(target.mean())), 6)
    return round(float(weights[0]), 6), round(float(weights[1]), 6)


def _loss(score: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """Cross-entropy of sigmoid(score) in nats."""
    return float((np.logaddexp(0, score) - target * score).sum())


def logit(probability: NDArray[Any]) -> NDArray[np.float64]:
    """Logarithm of the odds, of probabilities that are kept a millionth away from 0 and 1."""
    clipped = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def _sigmoid(x: NDArray[Any]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return result

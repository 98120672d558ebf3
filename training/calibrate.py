"""Calibrate confidence on the calibration split, and set the threshold of escalation there.

Platt's logistic calibration: of the decoder's own probability that every fact it stated was
the right choice, fitted to whether the caption's facts were all right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle, Manifest
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.street.grammar import parse
from aiflow.common.street.scene import facts_score
from aiflow.device.encoder import Encoder
from aiflow.training import dataset
from aiflow.training.progress import Bar

BATCH = 32
ESCALATED_SHARE = 0.3
"""Of captions, at the threshold that the bundle suggests."""


def calibrate(
    bundle: Bundle, manifest: Manifest, pictures: dataset.Spec, images: NDArray[np.uint8]
) -> Manifest:
    """Return the manifest with calibrated confidences, threshold and figures.

    `images` uint8 (N, H, W, 3) are the encoder-sized pictures of `pictures`.
    """
    encoder = Encoder.load(bundle)
    symbols = [encoder.encode(image).symbols for image in images]
    truth = [scene.facts() for scene in dataset.scenes(pictures)]
    decoders, figures = dict(manifest.decoders), {}
    threshold = manifest.escalate_below
    for tier, facts in manifest.decoders.items():
        kept = bundle.layers[facts.input_layers - 1]
        drafts = caption_all(Captioner(bundle, tier), [rows[:kept] for rows in symbols], tier)
        pairs = [(parse(draft.text), t) for draft, t in zip(drafts, truth, strict=True)]
        right = np.array([predicted == true for predicted, true in pairs])
        raw = np.array([draft.confidence for draft in drafts])
        slope, intercept = fit_logistic(_logit(raw), right)
        decoders[tier] = facts.model_copy(update={"slope": slope, "intercept": intercept})
        score = facts_score(pairs)
        figures[tier] = {"fact_f1": round(score.f1, 4), "exact": round(float(right.mean()), 4)}
        if tier == "edge":
            calibrated = _sigmoid(slope * _logit(raw) + intercept)
            threshold = round(float(np.quantile(calibrated, ESCALATED_SHARE)), 3)
    return manifest.model_copy(
        update={
            "decoders": decoders,
            "escalate_below": threshold,
            "figures": {"split": "calibration", "scenes": len(images), **figures},
        }
    )


def caption_all(captioner: Captioner, symbols: list[NDArray[np.uint8]], label: str) -> list[Draft]:
    """Caption many frames in batches."""
    drafts: list[Draft] = []
    with Bar(f"caption {label}", len(symbols)) as bar:
        for start in range(0, len(symbols), BATCH):
            batch = [Request(rows) for rows in symbols[start : start + BATCH]]
            drafts += captioner.caption(batch)
            bar.show(len(drafts))
    return drafts


def fit_logistic(x: NDArray[Any], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Fit P(right) = sigmoid(slope * x + intercept) by Newton's method with a small ridge."""
    features = np.stack([x, np.ones_like(x)], axis=1)
    # Platt's targets: a prior of one right and one wrong caption keeps a perfect tier finite.
    positive, negative = right.sum(), (~right).sum()
    target = np.where(right, (positive + 1) / (positive + 2), 1 / (negative + 2))
    weights = np.array([1.0, 0.0])
    for _ in range(50):
        probability = _sigmoid(features @ weights)
        gradient = features.T @ (probability - target) + 1e-3 * (weights - [1.0, 0.0])
        curvature = (features * (probability * (1 - probability))[:, None]).T @ features
        step = np.linalg.solve(curvature + 1e-3 * np.eye(2), gradient)
        weights = weights - step
        if float(np.abs(step).max()) < 1e-8:
            break
    return round(float(weights[0]), 6), round(float(weights[1]), 6)


def _logit(probability: NDArray[Any]) -> NDArray[np.float64]:
    clipped = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    odds: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return odds


def _sigmoid(x: NDArray[Any]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return result

"""Confidence fits and thresholds, on made-up captions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")

from aiflow.common.bundle import Calibration
from aiflow.street.scene import Fact
from aiflow.training.calibrate import (
    MOST_ESCALATED,
    Said,
    cross_validated_ece,
    escalate_below,
    expected_calibration_error,
    fit_logistic,
)


def said(right: list[bool], raw: np.ndarray) -> tuple[Said, list[frozenset[Fact]]]:
    """Captions of one fact each, and the truth."""
    truth: list[frozenset[Fact]] = [frozenset({("kind", str(n))}) for n in range(len(right))]
    wrong: frozenset[Fact] = frozenset({("kind", "wrong")})
    facts = [true if good else wrong for good, true in zip(right, truth, strict=True)]
    return Said(facts, raw, np.array(right)), truth


def test_the_error_of_calibration() -> None:
    confidence = np.repeat([0.9, 0.5], 10)
    right = np.array([True] * 9 + [False] + [True] * 5 + [False] * 5)
    assert expected_calibration_error(confidence, right) == pytest.approx(0)
    assert expected_calibration_error(confidence, np.ones(20, bool)) == pytest.approx(0.3)
    assert expected_calibration_error(np.array([1.0]), np.array([False])) == 1


def test_a_fit_undoes_overconfidence() -> None:
    rng = np.random.default_rng(1)
    honest = rng.uniform(0.05, 0.95, 4000)
    right = rng.random(4000) < honest
    odds = np.log(honest / (1 - honest))
    slope, intercept = fit_logistic(2 * odds + 1, right)
    assert slope == pytest.approx(0.5, abs=0.05)
    assert intercept == pytest.approx(-0.5, abs=0.1)
    raw = 1 / (1 + np.exp(-(2 * odds + 1)))
    assert expected_calibration_error(raw, right) > 0.1
    assert cross_validated_ece(said(list(right), raw)[0]) < 0.04


def test_the_threshold_gives_away_what_the_cloud_betters() -> None:
    raw = np.linspace(0.01, 0.99, 1000)
    edge, truth = said([index >= 64 for index in range(1000)], raw)
    cloud, _ = said([True] * 1000, raw)
    threshold = escalate_below(edge, cloud, truth, Calibration())
    asked = float((raw < threshold).mean())
    assert asked == pytest.approx(0.064, abs=0.002), "the 64 that are wrong"


def test_no_more_are_escalated_than_agreed() -> None:
    raw = np.linspace(0.01, 0.99, 1000)
    edge, truth = said([False] * 1000, raw)
    cloud, _ = said([True] * 1000, raw)
    threshold = escalate_below(edge, cloud, truth, Calibration())
    assert (raw < threshold).mean() == pytest.approx(MOST_ESCALATED, abs=0.02)

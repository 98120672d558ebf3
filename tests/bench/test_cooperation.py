"""The cooperation benchmark: its gates on made-up scores, and all of it on a handful of scenes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocoevalcap", reason="needs the extra bench")

from aiflow.bench import cooperation
from aiflow.bench.judge import Scores


def scores(cider: np.ndarray) -> Scores:
    ones = np.ones(len(cider))
    return Scores(ones, ones, ones, ones, cider, 1.0)


def test_a_gate_that_knows_is_as_good_as_the_oracle_and_better_than_chance() -> None:
    rng = np.random.default_rng(1)
    cloud = np.full(200, 5.0)
    edge = np.where(rng.random(200) < 0.2, 1.0, 5.0)
    found = cooperation.cascade(scores(edge), scores(cloud), edge == 5, seed=1)
    assert found["cider"] == found["oracle_gate_cider"] == 5
    assert found["random_gate_cider"] < found["random_gate_interval"][1] < 5
    assert found["kept_at_edge"] == pytest.approx((edge == 5).mean(), abs=1e-4)


def test_calibration_is_measured_against_what_was_right() -> None:
    confidence = np.repeat([0.25, 0.95], 100)
    right = np.concatenate([np.arange(100) < 25, np.arange(100) < 75])
    found = cooperation.calibration(confidence, right)
    assert found["ece"] == pytest.approx(0.1)
    assert [one["captions"] for one in found["bins"]] == [100, 100]


def test_on_a_handful_of_scenes_the_cloud_keeps_its_own_captions(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra bench")
    figures = cooperation.run(seed=3, plot=tmp_path, say=lambda _text: None, scenes=10)
    spoken = figures["speculation"]
    assert spoken["identical"] == 1
    assert 0 < spoken["cloud_passes_saved"] < 1
    assert 0 < spoken["accepted_share"] <= 1
    assert 50 < spoken["question_bytes_mean"] < 400
    assert (tmp_path / "cooperation.png").stat().st_size > 10_000

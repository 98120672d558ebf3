from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra bench")

from aiflow.bench.baselines import fitted
from aiflow.bench.baselines.split import Cut, FloatEncoder
from aiflow.bench.baselines.way import Picture


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted, "GROUPS", (3, 12, 80))
    monkeypatch.setattr(fitted, "DIMS", {"map": (2, 8), "pooled": (2, 8)})
    monkeypatch.setattr(fitted, "STEPS", (1.0, 0.05))


@pytest.mark.parametrize("cut", ["map", "pooled"])
def test_finer_steps_and_more_dimensions_keep_more_symbols(
    float_encoder: FloatEncoder, pictures: list[Picture], cut: Cut
) -> None:
    right = np.stack([picture.symbols for picture in pictures])
    kept, sizes = {}, {}
    for way in fitted.all_ways(float_encoder, pictures, cut):
        carried = [way.carry(picture) for picture in pictures]
        key = (way.code.groups, way.code.dims, way.relative_step, way.space.metric)
        kept[key] = (np.stack([one.symbols for one in carried]) == right).mean()
        sizes[key] = np.mean([one.size_bytes for one in carried])
        assert way.family == fitted.FAMILIES[cut]
    positions = 12 if cut == "map" else 4
    for metric in fitted.METRICS:
        assert kept[positions, 8, 0.05, metric] > 0.93
        assert kept[positions, 8, 0.05, metric] > kept[positions, 2, 1.0, metric]
        assert sizes[positions, 8, 0.05, metric] > sizes[positions, 2, 1.0, metric]
    assert (3, 8, 0.05, "task") in kept or cut == "pooled"
    assert (80, 8, 0.05, "task") not in kept  # there are not so many positions


def test_the_metric_can_be_undone(float_encoder: FloatEncoder, pictures: list[Picture]) -> None:
    seen = np.stack([picture.features["map"] for picture in pictures])
    space = fitted.fit_space(float_encoder, seen, "map", "task")
    back = space.features(space.tokens(seen[0]), seen[0].shape)
    np.testing.assert_allclose(back, seen[0], atol=1e-3)
    assert (back >= 0).all()


def test_the_metric_sees_what_the_latent_sees(
    float_encoder: FloatEncoder, pictures: list[Picture]
) -> None:
    seen = np.stack([picture.features["pooled"] for picture in pictures])
    space = fitted.fit_space(float_encoder, seen, "pooled", "task")
    # The heads read 8 channels into 3 dimensions: all but 3 directions are nearly blind.
    strength = np.sort(np.linalg.svd(space.forth, compute_uv=False))
    assert strength[-3] > 5 * strength[-4]


def test_what_is_restored_is_what_the_bytes_say(
    float_encoder: FloatEncoder, pictures: list[Picture]
) -> None:
    for way in fitted.all_ways(float_encoder, pictures, "map"):
        labels, values = way.merged(pictures[0].features["map"])
        read_labels, read_values = way.code.decode(way.code.encode(labels, values))
        np.testing.assert_array_equal(read_labels, labels)
        np.testing.assert_array_equal(read_values, values)

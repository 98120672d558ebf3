from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.errors import ConfigError
from aiflow.street import pose, sensor, splits
from aiflow.street.render import render
from aiflow.street.world import street


def picture(index: int, size: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    rng = splits.rng("test", 2, index)
    scene = street().sample(rng)
    return render(scene, pose.sample(scene, rng), size)


def small(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA).astype(np.float64)


def test_none_leaves_the_picture_alone() -> None:
    image = picture(0)
    assert np.array_equal(sensor.expose(image, splits.rng("test", 0, 0), "none"), image)


@pytest.mark.parametrize("strength", ["normal", "hard"])
def test_shape_and_type_stay_and_the_same_generator_gives_the_same(strength: str) -> None:
    image = picture(1)
    before = image.copy()
    first, second = (sensor.expose(image, splits.rng("test", 0, 7), strength) for _ in range(2))
    assert first.shape == image.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, second)
    assert np.array_equal(image, before)


def test_hard_is_harder() -> None:
    errors = {}
    for strength in ("normal", "hard"):
        pairs = [(picture(i), splits.rng("test", 0, i)) for i in range(20)]
        errors[strength] = np.mean(
            [np.abs(small(sensor.expose(p, rng, strength)) - small(p)).mean() for p, rng in pairs]
        )
    assert 4 < errors["normal"] < 0.75 * errors["hard"]


@pytest.mark.parametrize("strength", ["normal", "hard"])
def test_distortions_are_the_same_at_every_resolution_once_reduced(strength: str) -> None:
    figures = {}
    for size in ((320, 240), (640, 480)):
        seen = [
            sensor.expose(picture(i, size), splits.rng("test", 3, i), strength) for i in range(24)
        ]
        flat = [small(image) for image in seen]
        detail = [image - cv2.GaussianBlur(image, (5, 5), 1.5) for image in flat]
        figures[size] = np.mean(flat), np.std(flat), np.std(detail)
    assert figures[320, 240] == pytest.approx(figures[640, 480], rel=0.12)


def test_noise_is_random_in_itself_under_one_condition() -> None:
    image = picture(3)
    condition = sensor.sample_condition(splits.rng("test", 0, 1))
    one, two = (
        sensor.expose(image, splits.rng("test", 4, i), condition=condition).astype(float)
        for i in range(2)
    )
    assert 0.3 < (one - two).std() < 15
    assert abs((one - two).mean()) < 0.2


def test_conditions_drift() -> None:
    a, b = (sensor.sample_condition(splits.rng("test", 0, i)) for i in range(2))
    assert a.towards(b, 0.0) == a
    half = a.towards(b, 0.5)
    assert half.exposure == pytest.approx((a.exposure + b.exposure) / 2)
    assert half.jpeg_chance == a.jpeg_chance


def test_an_unknown_strength_is_refused() -> None:
    with pytest.raises(ConfigError, match="normal"):
        sensor.expose(picture(0), splits.rng("test", 0, 0), "harsh")

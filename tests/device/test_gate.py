from __future__ import annotations

import numpy as np
import pytest

from aiflow.device.camera import Image
from aiflow.device.gate import Gate

SYMBOLS = np.zeros((6, 3), np.uint8)


def picture(value: int) -> Image:
    return np.full((480, 640, 3), value, np.uint8)


def changed_symbols(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    symbols = SYMBOLS.copy()
    symbols.flat[:count] = 1
    return symbols


@pytest.fixture
def gate() -> Gate:
    gate = Gate(pixel_mean=2, pixel_peak=12, max_interval_s=30)
    assert gate.look(picture(100), 0) == "first"
    gate.accepted(SYMBOLS, 0)
    return gate


def test_still_scene_is_not_encoded(gate: Gate) -> None:
    assert gate.look(picture(100), 1) is None
    assert gate.look(picture(101), 2) is None


def test_light_that_changes_everywhere(gate: Gate) -> None:
    assert gate.look(picture(103), 1) == "changed"


def test_small_thing_that_changes_one_place(gate: Gate) -> None:
    image = picture(100)
    image[200:230, 300:330] = 160
    assert gate.look(image, 1) == "changed"


def test_noise_of_pixels_is_averaged_out(gate: Gate) -> None:
    noise = np.random.default_rng(1).normal(0, 10, (480, 640, 3))
    image = np.clip(picture(100) + noise, 0, 255).astype(np.uint8)
    assert gate.look(image, 1) is None


def test_meaning_must_change_too(gate: Gate) -> None:
    assert not gate.changed(changed_symbols(1), "changed", 2)
    assert gate.changed(changed_symbols(2), "changed", 2)


def test_other_reasons_ask_for_no_change(gate: Gate) -> None:
    assert all(gate.changed(SYMBOLS, reason, 2) for reason in ("first", "interval", "order"))


def test_still_scene_is_sent_after_the_interval(gate: Gate) -> None:
    assert gate.look(picture(100), 29.9) is None
    assert gate.look(picture(100), 30) == "interval"
    gate.accepted(SYMBOLS, 30)
    assert gate.look(picture(100), 31) is None


def test_order_lets_one_frame_pass(gate: Gate) -> None:
    gate.order()
    assert gate.look(picture(100), 1) == "order"
    assert gate.look(picture(100), 1) == "order", "until one is accepted"
    gate.accepted(SYMBOLS, 1)
    assert gate.look(picture(100), 2) is None


def test_frame_that_looks_new_and_means_the_same_is_encoded_once(gate: Gate) -> None:
    assert gate.look(picture(110), 1) == "changed"
    assert not gate.changed(SYMBOLS, "changed", 2)
    assert gate.look(picture(110), 2) is None
    assert gate.look(picture(100), 3) == "changed"


def test_slow_drift_of_meaning_is_seen_against_what_was_sent(gate: Gate) -> None:
    assert gate.look(picture(110), 1) == "changed"
    assert not gate.changed(changed_symbols(1), "changed", 2)
    assert gate.look(picture(120), 2) == "changed"
    assert gate.changed(changed_symbols(2), "changed", 2)


def test_size_of_the_picture_does_not_matter(gate: Gate) -> None:
    assert gate.look(np.full((1080, 1920, 3), 100, np.uint8), 1) is None
    assert gate.look(np.full((24, 32, 3), 100, np.uint8), 1) is None


def test_frames_of_fewer_layers_are_compared_as_far_as_they_go(gate: Gate) -> None:
    fewer = changed_symbols(1)[:4]
    assert not gate.changed(fewer, "changed", 2)
    gate.accepted(fewer, 1)
    assert gate.changed(changed_symbols(1), "changed", 2), "more of the frame is news"

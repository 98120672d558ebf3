from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra bench")

from aiflow.bench.baselines.split import FloatEncoder
from aiflow.bench.baselines.way import Picture
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BundleInvalid
from aiflow.common.runtime import OnnxModel


def test_the_cuts_are_found_by_shape(pictures: list[Picture]) -> None:
    assert pictures[0].features["map"].shape == (3, 4, 8)
    assert pictures[0].features["pooled"].shape == (1, 4, 8)


def test_the_parts_do_what_the_whole_does(
    encoder_path: Path, float_encoder: FloatEncoder, pictures: list[Picture]
) -> None:
    whole = Encoder(OnnxModel(encoder_path), (32, 24), (5, 5, 5))
    for picture in pictures:
        expected = whole.encode(picture.image).symbols
        np.testing.assert_array_equal(picture.symbols, expected)
        np.testing.assert_array_equal(float_encoder.see(picture.image), expected)
        pooled = picture.features["pooled"]
        np.testing.assert_array_equal(float_encoder.finish(pooled, "pooled"), expected)


def test_symbols_differ_between_pictures(pictures: list[Picture]) -> None:
    assert len({picture.symbols.tobytes() for picture in pictures}) > 6


def test_a_smaller_picture_is_enlarged_smoothly(
    float_encoder: FloatEncoder, pictures: list[Picture]
) -> None:
    small = np.asarray(cv2.resize(pictures[0].image, (16, 12), interpolation=cv2.INTER_AREA))
    by_hand = cv2.resize(small, (32, 24), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(
        float_encoder.see(small.astype(np.uint8)), float_encoder.see(by_hand.astype(np.uint8))
    )


def test_a_graph_without_the_names_is_refused(encoder_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(encoder_path))
    model.graph.node[-1].output[0] = "other"
    model.graph.output[0].name = "other"
    onnx.save(model, str(encoder_path))
    with pytest.raises(BundleInvalid, match="does not lead"):
        FloatEncoder(encoder_path, (32, 24), (5, 5, 5))

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.device.conftest import toy_bundle

from aiflow.common import encoder as module
from aiflow.common import runtime
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BundleInvalid


class FakeModel:
    """Gives a fixed latent, (1, K, D), and keeps what it got."""

    def __init__(self, latent: NDArray[np.float32]) -> None:
        self.latent = latent
        self.got: list[NDArray[Any]] = []

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        self.got += arrays
        return [self.latent]


def test_image_is_resized_and_batched() -> None:
    model = FakeModel(np.zeros((1, 6, 3), np.float32))
    Encoder(model, (96, 72), (5, 5, 5)).encode(np.full((480, 640, 3), 9, np.uint8))
    (image,) = model.got
    assert (image.shape, str(image.dtype)) == ((1, 72, 96, 3), "uint8")
    assert image.flags.c_contiguous
    assert (image == 9).all()


def test_latent_is_rounded_to_its_levels() -> None:
    latent = np.array([[[-9, -2.4, -0.6, 0.4, 9], [-1.6, -0.5, 0, 0.5, 1.4]]], np.float32)
    encoding = Encoder(FakeModel(latent), (8, 8), (5, 4, 3, 5, 2)).encode(
        np.zeros((8, 8, 3), np.uint8)
    )
    # The middle of L levels is (L - 1) / 2; halves are rounded to even.
    assert encoding.symbols.tolist() == [[0, 0, 0, 2, 1], [0, 1, 1, 2, 1]]
    assert encoding.symbols.dtype == np.uint8
    assert np.array_equal(encoding.latent, latent[0])


def test_load_checks_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = toy_bundle()

    def load(model: runtime.Model) -> Encoder:
        monkeypatch.setattr(module, "load_encoder", lambda *_: model)
        return Encoder.load(bundle)

    load(FakeModel(np.zeros((1, 6, 3), np.float32)))
    with pytest.raises(BundleInvalid, match=r"gives \(6, 3\), its manifest says|gives \(4, 3\)"):
        load(FakeModel(np.zeros((1, 4, 3), np.float32)))

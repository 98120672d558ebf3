"""From a frame to symbols: resize, the bundle's encoder, and rounding to its levels (FSQ).

Finite scalar quantization: Mentzer et al., "Finite Scalar Quantization: VQ-VAE Made Simple"
(arXiv 2309.15505). The latent comes in units of levels, centred on 0.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle
from aiflow.common.errors import BundleInvalid
from aiflow.common.runtime import Model, load_encoder

Image = NDArray[np.uint8]
"""uint8, (height, width, 3), BGR."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoding:
    """K tokens of D dimensions: `symbols` uint8 and the `latent` float32 they were rounded from."""

    symbols: NDArray[np.uint8]
    latent: NDArray[np.float32]


class Encoder:
    """One encoder for all cameras of a process; calls from several threads take turns."""

    def __init__(self, model: Model, size: tuple[int, int], levels: tuple[int, ...]) -> None:
        """`size` is (width, height) of the model's input, `levels` the symbols per dimension."""
        self._model = model
        self._size = size
        self._top = np.array(levels, np.float32) - 1
        self._turn = threading.Lock()  # not every runtime may be called by two threads at once

    @classmethod
    def load(
        cls,
        bundle: Bundle,
        runtime: str = "onnx",
        threads: int = 1,
        provider: str = "cpu",
    ) -> Self:
        """Raises RuntimeUnavailable or BundleInvalid."""
        model = load_encoder(bundle, runtime, threads, provider)
        encoder = cls(model, bundle.input_size, bundle.levels)
        width, height = bundle.input_size
        # The first run is slow: let it not be a frame's. It also shows whether the shapes fit.
        try:
            encoding = encoder.encode(np.zeros((height, width, 3), np.uint8))
        except ValueError as exc:
            raise BundleInvalid(
                f"the encoder of {bundle.path} does not have its manifest's shapes: {exc}"
            ) from exc
        if encoding.symbols.shape != (bundle.tokens, bundle.dims):
            raise BundleInvalid(
                f"the encoder of {bundle.path} gives {encoding.symbols.shape}, its manifest says "
                f"{(bundle.tokens, bundle.dims)}"
            )
        return encoder

    def fitted(self, image: Image) -> Image:
        """The image in the size of the model's input; encoding it gives the same."""
        if image.shape[1::-1] == self._size:
            return image
        return cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]

    def encode(self, image: Image) -> Encoding:
        """`image` is uint8 (H, W, 3) BGR of any size."""
        image = self.fitted(image)
        with self._turn:
            (latent,) = self._model.run(np.ascontiguousarray(image[None]))
        # (1, K, D), or a plain vector of as many values.
        latent = latent.astype(np.float32, copy=False).reshape(-1, len(self._top))
        symbols = np.clip(np.rint(latent + self._top / 2), 0, self._top)
        return Encoding(symbols.astype(np.uint8), latent)

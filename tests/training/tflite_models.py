"""Make the small models that the tests of the runtimes run: `python tflite_models.py FOLDER`.

Needs the environment of training/litert.txt. `pytest tests/training/test_tflite.py
--regenerate-vectors` starts it, and packs what it made into models.npz.
"""

from __future__ import annotations

import sys
from pathlib import Path

import litert_torch
import numpy as np
import torch
from ai_edge_quantizer import quantizer, recipe

from aiflow.training.encoder import Encoder, EncoderShape
from aiflow.training.tflite import convert

SHAPE = EncoderShape(32, 32, channels=(4, 4, 8), slots=3, maps=2, hidden=8, dims=4, levels=5)


class Foreign(torch.nn.Module):
    """What somebody else may bring: pixels of 0 to 1 in, a plain vector of 12 out."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, 2, 1)
        self.last = torch.nn.Linear(8, 12)
        self.last.weight.data *= 10

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.convolution(image.permute(0, 3, 1, 2)))
        vector: torch.Tensor = self.last(features.mean((2, 3)))
        return vector


def tiny_encoder(images: torch.Tensor) -> Encoder:
    """An untrained encoder, made so that its latents reach all levels."""
    encoder = Encoder(SHAPE)
    with torch.no_grad():
        encoder.train()(images)  # for the statistics of its batch normalization
        encoder.pool.mix.weight.mul_(4)
        for layer in (encoder.cells_in, encoder.cells_mid, encoder.cells_out):
            layer.bias.normal_()
            layer.linear.weight.mul_(4)
        encoder.globals_out.weight.mul_(4)
    encoder.eval()
    return encoder


def quantize(model: Foreign, images: torch.Tensor, folder: Path) -> None:
    """Write vector.tflite as the makers of LiteRT show it: nothing of ours is in it."""
    source = str(folder / "vector.float.tflite")
    litert_torch.convert(model.eval(), (images[:1],)).export(source)
    tools = quantizer.Quantizer(source)
    tools.load_quantization_recipe(recipe.static_wi8_ai8())
    samples = [{"args_0": image[None].numpy()} for image in images]
    ranges = tools.calibrate({"serving_default": samples})
    tools.quantize(ranges).export_model(str(folder / "vector.tflite"), overwrite=True)


def main(folder: Path) -> None:
    """Write both models, the encoder's state dict, and what the models should give."""
    torch.manual_seed(5)
    # Blots instead of noise: noise all looks alike to a convolution.
    blots = np.random.default_rng(5).integers(0, 256, (64, 4, 4, 3), dtype=np.uint8)
    images = blots.repeat(8, axis=1).repeat(8, axis=2)
    encoder, foreign = tiny_encoder(torch.from_numpy(images)), Foreign()
    torch.save(encoder.state_dict(), folder / "encoder.pt")
    convert(encoder, images, folder / "encoder.tflite")
    pixels = torch.from_numpy(images).float() / 255
    quantize(foreign, pixels, folder)
    with torch.no_grad():
        latents = encoder(torch.from_numpy(images)).numpy()
        vectors = foreign(pixels).numpy()
    np.savez(folder / "expected.npz", blots=blots, latents=latents, vectors=vectors)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

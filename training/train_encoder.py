"""Train the encoder with its bottleneck: facts from tokens, at a price for each bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aiflow.common.street.world import street
from aiflow.training.dataset import Pictures
from aiflow.training.encoder import (
    DirectHeads,
    Encoder,
    EncoderShape,
    FactHeads,
    LocalHeads,
    RateModel,
    fact_loss,
    quantize,
)
from aiflow.training.labels import LabelSpace
from aiflow.training.progress import Bar
from aiflow.training.recipe import EncoderRecipe

CHECKPOINT_EVERY = 400
LOG_EVERY = 50


class Bottleneck(nn.Module):
    """Everything that is trained together: encoder, heads and rate model."""

    def __init__(self, shape: EncoderShape, space: LabelSpace) -> None:
        super().__init__()
        sizes = space.global_sizes, space.cell_sizes
        self.sizes = sizes
        self.shape = shape
        self.encoder = Encoder(shape)
        self.direct = DirectHeads(shape, *sizes)
        self.facts = FactHeads(shape, *sizes)
        self.local = LocalHeads(shape, space.cell_sizes)
        self.rate = RateModel(shape)


@dataclass(frozen=True, slots=True)
class Step:
    """Losses of one step: distortions in nats a scene, rates in bits a scene."""

    loss: Tensor
    local: float
    direct: float
    base: float
    full: float
    base_bits: float
    refinement_bits: float


def learning_rate(progress: float, peak: float) -> float:
    """Warm up over the first 3%, then a cosine down to 1% of the peak."""
    if progress < 0.03:
        return peak * progress / 0.03
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.03) / 0.97)))


def _losses(
    model: Bottleneck,
    images: Tensor,
    targets: tuple[Tensor, Tensor],
    spots: Tensor,
    recipe: EncoderRecipe,
    p: float,
) -> Step:
    features = model.encoder.features(images)
    local = model.local(features, spots, targets[1])
    of_globals, of_cells = model.encoder.hidden(features)
    direct = fact_loss(model.direct(of_globals, of_cells), targets, model.sizes)
    latent = model.encoder.latent(of_globals, of_cells)
    tokens = quantize(latent, model.shape.levels, noise=p < recipe.round_from)
    base = fact_loss(model.facts(tokens, 1), targets, model.sizes)
    full = fact_loss(model.facts(tokens, 2), targets, model.sizes)
    bits = model.rate(tokens).mean(0)
    # The price rises over the first third: a code must exist before it can be made cheap.
    ramp = min(1.0, 3 * p)
    price = recipe.rate_weight * bits[0] + recipe.refinement_rate_weight * bits[1]
    loss = 0.5 * local + 0.5 * direct + base + full + ramp * price
    distortions = (local.item(), direct.item(), base.item(), full.item())
    return Step(loss, *distortions, bits[0].item(), bits[1].item())


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random gain and offset of each picture: exposure that the camera model did not draw."""
    size = (images.shape[0], 1, 1, 1)
    gain = 1 + 0.1 * (torch.rand(size, generator=generator) - 0.5)
    offset = 10 * (torch.rand(size, generator=generator) - 0.5)
    return (images.float() * gain + offset).clamp(0, 255)


def train_encoder(
    pictures: Pictures, recipe: EncoderRecipe, seed: int, folder: Path
) -> tuple[Bottleneck, list[dict[str, float]]]:
    """Train from scratch, or from the checkpoint in `folder`; returns the model and its history."""
    torch.manual_seed(seed)
    model = Bottleneck(EncoderShape(), LabelSpace.of(street()))
    model.encoder.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.02)
    steps = recipe.pictures // recipe.batch
    history: list[dict[str, float]] = []
    first = 0
    checkpoint = folder / "encoder.checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, history = state["step"], state["history"]
    model.train()
    with Bar("encoder", steps, start=first) as bar:
        for step in range(first, steps):
            progress = step / steps
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(progress, recipe.learning_rate)
            # Seeded by the step, so that a resumed run draws what an uninterrupted one would.
            torch.manual_seed(seed * 1_000_003 + step)
            rows = _rows(len(pictures), recipe.batch, step, seed)
            images = augment(torch.from_numpy(pictures.images[rows]), torch.default_generator)
            targets = (
                torch.from_numpy(pictures.globals[rows]),
                torch.from_numpy(pictures.cells[rows]),
            )
            spots = torch.from_numpy(pictures.spots[rows])
            result = _losses(model, images, targets, spots, recipe, progress)
            optimizer.zero_grad()
            result.loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            if step % LOG_EVERY == 0:
                history.append(_record(step * recipe.batch, result))
            bar.show(
                step + 1,
                f"base {result.base:.2f} full {result.full:.2f} nats, "
                f"{result.base_bits:.0f}+{result.refinement_bits:.0f} bits",
            )
            if (step + 1) % CHECKPOINT_EVERY == 0:
                _save(checkpoint, model, optimizer, step + 1, history)
    return model.eval(), history


def _rows(size: int, batch: int, step: int, seed: int) -> NDArray[np.int64]:
    """Rows of a batch: passes over the data, each in an order of its own."""
    per_pass = size // batch
    order = np.random.default_rng((seed, step // per_pass)).permutation(size)
    start = step % per_pass * batch
    return np.sort(order[start : start + batch])


def _record(seen: int, result: Step) -> dict[str, float]:
    return {
        "pictures": seen,
        "local_nats": result.local,
        "direct_nats": result.direct,
        "base_nats": result.base,
        "full_nats": result.full,
        "base_bits": result.base_bits,
        "refinement_bits": result.refinement_bits,
    }


def _save(
    path: Path,
    model: Bottleneck,
    optimizer: torch.optim.Optimizer,
    step: int,
    history: list[dict[str, float]],
) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "history": history,
        },
        partial,
    )
    partial.rename(path)


@torch.no_grad()
def symbols_of(encoder: Encoder, images: NDArray[np.uint8], batch: int = 128) -> NDArray[np.uint8]:
    """Symbols uint8 (N, tokens, dims) of images uint8 (N, H, W, 3)."""
    encoder.eval()
    parts = []
    half = (encoder.shape.levels - 1) / 2
    for start in range(0, len(images), batch):
        latent = encoder(torch.from_numpy(images[start : start + batch]))
        symbols = torch.round(latent + half).clamp(0, encoder.shape.levels - 1)
        parts.append(symbols.to(torch.uint8).numpy())
    return np.concatenate(parts)

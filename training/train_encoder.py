"""Train the encoder with its bottleneck: facts from tokens, at a price for each bit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aiflow.street.world import street
from aiflow.training.dataset import SQUARE, Pictures
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
from aiflow.training.labels import CELL_ATTRIBUTES, LabelSpace
from aiflow.training.progress import Bar
from aiflow.training.recipe import EncoderRecipe

CHECKPOINT_EVERY = 400
LOG_EVERY = 50
COMMITMENT = 0.05
"""Nats a scene for each squared level between a value and what it is rounded to."""


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
    relaxed = p < recipe.round_from
    tokens = quantize(latent, model.shape.levels, noise=relaxed)
    base = fact_loss(model.facts(tokens, 1), targets, model.sizes)
    full = fact_loss(model.facts(tokens, 2), targets, model.sizes)
    bits = model.rate(tokens).mean(0)
    # The price rises over the first third: a code must exist before it can be made cheap.
    ramp = min(1.0, 3 * p)
    price = recipe.rate_weight * bits[0] + recipe.refinement_rate_weight * bits[1]
    loss = 0.5 * local + 0.5 * direct + base + full + ramp * price
    if not relaxed:
        # Values that sit in the middle of their level survive camera noise and int8 arithmetic.
        loss = loss + COMMITMENT * (latent - tokens.detach()).square().sum((1, 2)).mean()
    distortions = (local.item(), direct.item(), base.item(), full.item())
    return Step(loss, *distortions, bits[0].item(), bits[1].item())


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random gain and offset of each picture: exposure that the camera model did not draw."""
    size = (images.shape[0], 1, 1, 1)
    gain = 1 + 0.1 * (torch.rand(size, generator=generator) - 0.5)
    offset = 10 * (torch.rand(size, generator=generator) - 0.5)
    return (images.float() * gain + offset).clamp(0, 255)


class Mirror:
    """Half of the pictures are seen in a mirror, where left and right change places.

    The street is drawn without a preference for a side, so that a mirrored picture is as
    likely as its original and shows what tells left from right.
    """

    def __init__(self, space: LabelSpace, columns: int) -> None:
        last = len(street().columns) - 1
        places = [(distance, street().columns.index(column)) for distance, column in space.cells]
        self.cells = torch.tensor(
            [places.index((distance, last - column)) for distance, column in places]
        )
        self.columns = columns
        self.motion = CELL_ATTRIBUTES.index("motion")
        other = {"left": "right", "right": "left"}
        values = space.cell_values[self.motion]
        self.motions = torch.tensor([values.index(other.get(value, value)) for value in values])

    def __call__(
        self, images: Tensor, cells: Tensor, spots: Tensor, chosen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mirror the `chosen` (B,) of images (B, H, W, 3), cells (B, 6, 4), spots (B, 6, 2)."""
        images = torch.where(chosen[:, None, None, None], images.flip(2), images)
        turned = cells[:, self.cells].clone()
        motion = turned[..., self.motion]
        turned[..., self.motion] = torch.where(
            motion >= 0, self.motions[motion.clamp(min=0).long()].to(motion.dtype), motion
        )
        moved = spots[:, self.cells].clone()
        there = moved[..., 1] >= 0
        moved[..., 1] = torch.where(there, self.columns - 1 - moved[..., 1], moved[..., 1])
        mirrored = chosen[:, None, None]
        return images, torch.where(mirrored, turned, cells), torch.where(mirrored, moved, spots)


def train_encoder(
    pictures: Pictures, recipe: EncoderRecipe, seed: int, folder: Path
) -> tuple[Bottleneck, list[dict[str, float]]]:
    """Train from scratch, or from the checkpoint in `folder`; returns the model and its history."""
    torch.manual_seed(seed)
    space = LabelSpace.of(street())
    model = Bottleneck(EncoderShape(), space)
    mirror = Mirror(space, (model.shape.width + SQUARE - 1) // SQUARE)
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
            images, cells, spots = mirror(
                torch.from_numpy(pictures.images[rows]),
                torch.from_numpy(pictures.cells[rows]),
                torch.from_numpy(pictures.spots[rows]),
                torch.rand(len(rows)) < 0.5,
            )
            targets = torch.from_numpy(pictures.globals[rows]), cells
            images = augment(images, torch.default_generator)
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


@torch.no_grad()
def read_off(
    model: Bottleneck, pictures: Pictures, batch: int = 128
) -> dict[str, dict[str, float]]:
    """What the fact heads read off the rounded tokens: the bound of what a decoder could say.

    For the base layer and for all tokens: the share of attributes (of the scene, of each cell)
    that are right, and of pictures of which all are.
    """
    model.eval()
    truth = np.concatenate([pictures.globals, pictures.cells.reshape(len(pictures), -1)], axis=1)
    right: dict[str, list[NDArray[np.bool_]]] = {"base": [], "all": []}
    for start in range(0, len(pictures), batch):
        rows = slice(start, start + batch)
        latent = model.encoder(torch.from_numpy(pictures.images[rows]))
        tokens = quantize(latent, model.shape.levels, noise=False)
        for layers, name in enumerate(right, start=1):
            of_globals, of_cells = model.facts(tokens, layers)
            said = [part.argmax(-1) for part in of_globals.split(model.sizes[0], dim=-1)]
            cells = [part.argmax(-1) for part in of_cells.split(model.sizes[1], dim=-1)]
            said.append(torch.stack(cells, dim=-1).flatten(1).T)
            got = torch.cat([part.reshape(-1, len(latent)) for part in said]).T.numpy()
            right[name].append(got == truth[rows])
    asked = truth >= 0
    figures = {}
    for name, parts in right.items():
        hits = np.concatenate(parts)
        figures[name] = {
            "attributes": round(float(hits[asked].mean()), 4),
            "exact": round(float((hits | ~asked).all(axis=1).mean()), 4),
        }
    return figures

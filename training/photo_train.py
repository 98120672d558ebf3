"""The stages of training on photos, each a loss for `aiflow.training.loop`.

    text      captions without photos                   -> a decoder that can write
    joint     stems -> encoder -> task tokens -> decoder -> bottleneck, tail of the trunk, decoder
    reward    sampled captions, CIDEr-D                  -> the same decoder, for whole captions
    follow    task tokens, the cloud's captions          -> the smaller decoders

Float32 for the encoder and bfloat16 for the decoders is what two CPU cores run fastest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aiflow.training import loop
from aiflow.training.cider import CiderD
from aiflow.training.decoder import Decoder
from aiflow.training.efficientnet import CLASSES
from aiflow.training.photo_decoder import (
    caption_logits,
    generate,
    lengths,
    nats,
    read_latent,
    text_logits,
)
from aiflow.training.photo_encoder import PhotoEncoder

SMOOTHING: Final = 0.1
CLASS_WEIGHT: Final = 0.15
"""Of ImageNet's classes beside the captions: tokens keep what captions do not name."""
NOISE: Final = 0.5
"""Levels of uniform noise while the code forms, the first 30% of the joint stage."""
FORMING: Final = 0.3
SAMPLES: Final = 5

Ids = NDArray[np.int16]


@dataclass(frozen=True, slots=True, eq=False)
class Stems:
    """What the trunk's untrained part gave, for every photo and its variants.

    `maps` are arrays (N, 192, 7, 7) float16, the first of the photos as they are; `classes`
    (N, 1000) are ImageNet logits of those.
    """

    maps: Sequence[NDArray[np.float16]]
    classes: NDArray[np.float16]

    def draw(self, photos: NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """One variant of each photo, float32."""
        chosen = rng.integers(0, len(self.maps), len(photos))
        rows = [self.maps[which][photo] for which, photo in zip(chosen, photos, strict=True)]
        stems = torch.from_numpy(np.stack(rows)).float()
        return stems.contiguous(memory_format=torch.channels_last)


def bfloat16() -> torch.autocast:
    """Decoders compute in it; their parameters and losses stay float32."""
    return torch.autocast("cpu", torch.bfloat16)


def train_text(decoder: Decoder, texts: Ids, steps: int, batch: int, rate: float, to: Path) -> None:
    """Teach a decoder to write: captions (N, T) without photos, of nearly one length at a time."""
    order = np.argsort((texts != 0).sum(1), kind="stable")

    def loss_of(_step: int, rng: np.random.Generator) -> Tensor:
        at = int(rng.integers(0, len(order) - batch))
        captions = _trimmed(texts[order[at : at + batch]])
        with bfloat16():
            return nats(text_logits(decoder, captions), captions)

    parts = [loop.Part(list(decoder.parameters()), rate)]
    loop.train(to, steps, 1, {"decoder": decoder.train()}, parts, loss_of)


class ClassHead(nn.Module):
    """ImageNet's classes from the task tokens; thrown away after training."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(symbols, 512), nn.ReLU(), nn.Linear(512, CLASSES))

    def forward(self, latent: Tensor, kept: Tensor) -> Tensor:
        """Latent (B, K, D), of which the first `kept` (B,) tokens exist -> logits (B, 1000)."""
        top = 3 / 2
        rounded = torch.round(latent + top).clamp(0, 2 * top) - top
        seen = latent + (rounded - latent).detach()
        seen = seen * (torch.arange(latent.shape[1])[None] < kept[:, None])[..., None]
        logits: Tensor = self.layers(seen.flatten(1))
        return logits


def train_joint(  # noqa: PLR0913, PLR0917 - a stage's inputs and numbers, each once
    encoder: PhotoEncoder,
    decoder: Decoder,
    stems: Stems,
    captions: Ids,
    steps: int,
    batch: int,
    each: int,
    to: Path,
) -> None:
    """Train bottleneck, decoder and the trunk's tail together; captions (N, 5, T).

    Of each photo `each` captions are learned at a time, which share its task tokens.
    """
    shape, count = encoder.shape, len(captions)
    heads = ClassHead(shape.tokens * shape.dims)
    classes = stems.classes

    def loss_of(step: int, rng: np.random.Generator) -> Tensor:
        photos = rng.choice(count, batch, replace=False)
        picked = np.argsort(rng.random((batch, captions.shape[1])), axis=1)[:, :each]
        said = _trimmed(captions[photos[:, None], picked].reshape(batch * each, -1))
        latent = encoder.from_stem(stems.draw(photos, rng))
        kept = lengths(batch, shape.layers)
        noise = (torch.rand_like(latent) - 0.5) * (NOISE if step < FORMING * steps else 0.0)
        with bfloat16():
            logits = caption_logits(decoder, read_latent(decoder, latent + noise), kept, said)
            soft = torch.from_numpy(classes[photos].astype(np.float32)).softmax(-1)
            likely = F.log_softmax(heads(latent, kept).float(), dim=-1)
        kept_classes = -(soft * likely).sum(-1).mean()
        return nats(logits, said, SMOOTHING) + CLASS_WEIGHT * kept_classes

    encoder.eval()  # the trunk's normalization is ImageNet's
    encoder.gather.train()
    for parameter in encoder.trunk.parameters():
        parameter.requires_grad_(requires_grad=False)
    tail = encoder.trunk.tail_parameters()
    for parameter in tail:
        parameter.requires_grad_(requires_grad=True)
    parts = [
        loop.Part([*encoder.gather.parameters(), *heads.parameters()], 1e-3),
        loop.Part(list(decoder.parameters()), 4e-4),
        loop.Part(tail, 6e-5),
    ]
    modules = {"encoder": encoder, "decoder": decoder.train(), "heads": heads}
    loop.train(to, steps, 2, modules, parts, loss_of)


def train_reward(
    decoder: Decoder, symbols: Sequence[NDArray[np.uint8]], reward: CiderD,
    words: Sequence[str], layers: Sequence[int], steps: int, to: Path,
) -> None:  # fmt: skip
    """Self-critical sequence training (Rennie et al., 1612.00563) on CIDEr-D.

    `symbols` are arrays (N, K, D), one for each variant of the photos. The baseline of a sample
    is the mean of the photo's other samples (Luo, 2003.09971).
    """
    count = len(symbols[0])
    batch = min(24, count)

    def loss_of(_step: int, rng: np.random.Generator) -> Tensor:
        photos = rng.choice(count, batch, replace=False)
        chosen = rng.integers(0, len(symbols), batch)
        rows = np.stack(
            [symbols[which][photo] for which, photo in zip(chosen, photos, strict=True)]
        )
        latent, kept = _centred(rows, decoder), lengths(batch, layers)
        decoder.eval()
        with bfloat16(), torch.no_grad():
            prefix = read_latent(decoder, latent).float().repeat_interleave(SAMPLES, 0)
            many = kept.repeat_interleave(SAMPLES)
            said = generate(decoder, prefix, many, 20, sample=True)
        decoder.train()
        scores = [
            reward.score(int(photos[row // SAMPLES]), [words[t] for t in ids if t > 2])
            for row, ids in enumerate(said.tolist())
        ]
        scored = torch.tensor(scores).reshape(batch, SAMPLES)
        others = (scored.sum(1, keepdim=True) - scored) / (SAMPLES - 1)
        advantage = (scored - others).flatten()
        with bfloat16():
            logits = caption_logits(decoder, read_latent(decoder, latent), kept, said)
        chances = F.log_softmax(logits.float(), dim=-1).gather(2, said[..., None])[..., 0]
        real = said != 0
        return -(advantage[:, None] * chances * real).sum() / real.sum()

    parts = [loop.Part(list(decoder.parameters()), 1e-5)]
    loop.train(to, steps, 3, {"decoder": decoder}, parts, loss_of)


def train_follow(  # noqa: PLR0913, PLR0917 - a stage's inputs and numbers, each once
    decoder: Decoder, symbols: Sequence[NDArray[np.uint8]], taught: Sequence[Ids], captions: Ids,
    layers: Sequence[int], steps: int, rate: float, seed: int, to: Path,
) -> None:  # fmt: skip
    """Teach a smaller decoder the cloud's captions (Kim and Rush, 1606.07947), and people's.

    `taught` are the cloud's captions (N, T) of each variant in `symbols`; `captions` (N, 5, T).
    """
    count = len(captions)
    batch = min(64, count)

    def loss_of(_step: int, rng: np.random.Generator) -> Tensor:
        photos = rng.choice(count, batch, replace=False)
        chosen = rng.integers(0, len(symbols), batch)
        pairs = list(zip(chosen, photos, strict=True))
        latent = _centred(np.stack([symbols[which][photo] for which, photo in pairs]), decoder)
        own = captions[photos, rng.integers(0, captions.shape[1], batch)]
        theirs = np.stack([taught[which][photo] for which, photo in pairs])
        said = _trimmed(np.stack([own, theirs], axis=1).reshape(2 * batch, -1))
        kept = lengths(batch, layers)
        with bfloat16():
            logits = caption_logits(decoder, read_latent(decoder, latent), kept, said)
        steps_, weight = said.shape[1], torch.tensor([0.3, 0.7]).repeat(batch)
        losses = F.cross_entropy(
            logits.float().flatten(0, 1), said.flatten(), ignore_index=0, reduction="none"
        )
        weights = (said != 0) * weight[:, None]
        return (losses.reshape(-1, steps_) * weights).sum() / weights.sum()

    parts = [loop.Part(list(decoder.parameters()), rate)]
    loop.train(to, steps, seed, {"decoder": decoder.train()}, parts, loss_of)


def greedy(
    decoder: Decoder, symbols: NDArray[np.uint8], layer: int, batch: int = 200
) -> list[list[int]]:
    """Greedy captions of symbols (N, K, D) by their first `layer` tokens; ids without the end."""
    decoder.eval()
    said: list[list[int]] = []
    with torch.no_grad(), bfloat16():
        for start in range(0, len(symbols), batch):
            latent = _centred(symbols[start : start + batch], decoder)
            kept = torch.full((len(latent),), layer)
            prefix = read_latent(decoder, latent).float()
            ids = generate(decoder, prefix, kept, 23, sample=False)
            said += [[t for t in row if t > 2] for row in ids.tolist()]
    return said


def _centred(symbols: NDArray[np.uint8], decoder: Decoder) -> Tensor:
    return torch.from_numpy(symbols.astype(np.float32)) - (decoder.shape.levels - 1) / 2


def _trimmed(captions: Ids) -> Tensor:
    """As long as the longest of them, int64."""
    longest = int((captions != 0).sum(1).max())
    return torch.from_numpy(captions[:, :longest].astype(np.int64))

"""A codec for the visual tokens of any model, fitted after the fact and not trained.

    hidden (B, N, D) ─ merge ─> tokens (B, K, D) ─ encode ─> symbols (B, K, R) ─> (B, K, D)

Merging is by density peaks (DPC-KNN), as TOFC does it (arXiv 2503.12926). Each merged token is
projected onto the principal axes of the owner's own images and quantized in R stages, each of
which codes what those before it have left: residual vector quantization (Juang and Gray, 1982).
Everything here also exports to ONNX, where it runs on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aiflow.training.progress import Bar

NEIGHBOURS: Final = 5
MAX_CODES: Final = 255
MAX_AXES: Final = 256
KEPT_VARIANCE: Final = 0.995
"""Of the merged tokens, by the principal axes that are kept."""
VECTORS_A_CODE: Final = 16
"""Fewest vectors for each code; a larger codebook learns its images by heart, and other images
then cost more bits than if nothing were known of the codes.
"""
ROUNDS: Final = 25
"""Of Lloyd's algorithm; it ends earlier when nothing moves."""


@dataclass(frozen=True, slots=True)
class CodecShape:
    """K merged tokens, R stages, and the most codes of each."""

    tokens: int
    stages: int
    codes: int = MAX_CODES


class Merge(nn.Module):
    """hidden (B, N, D) -> tokens (B, K, D), the most important first.

    A token's local density is rho = exp(-mean squared distance to its nearest neighbours), its
    separation delta the distance to the nearest denser token, or for the densest to the farthest
    one. The K tokens with the largest rho * delta become centres, in this order; every token
    joins the nearest centre, and each group is replaced by its mean. With no more tokens than K
    nothing is merged.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, hidden: Tensor) -> Tensor:
        count = hidden.shape[1]
        if count <= self.tokens:
            return hidden
        squared = _squared_distances(hidden)
        centres = _scores(squared).topk(self.tokens, dim=1).indices
        places = torch.arange(count, device=hidden.device)
        is_centre = centres[:, :, None] == places
        to_centres = squared.gather(1, centres[:, :, None].expand(-1, -1, count))
        # Of equal tokens, each centre keeps itself.
        nearest = torch.where(is_centre, -1.0, to_centres).argmin(dim=1)
        groups = torch.arange(self.tokens, device=hidden.device)
        member = (nearest[:, None] == groups[None, :, None]).to(hidden.dtype)
        means: Tensor = (member @ hidden) / member.sum(dim=2, keepdim=True)
        return means


def _squared_distances(hidden: Tensor) -> Tensor:
    """(B, N, D) -> (B, N, N), in units of the picture's own mean, or exp() is 0 for all of them."""
    norms = (hidden**2).sum(dim=2)
    products = hidden @ hidden.transpose(1, 2)
    squared = (norms[:, :, None] + norms[:, None] - 2 * products).clamp(min=0)
    return squared / squared.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12)


def _scores(squared: Tensor) -> Tensor:
    """(B, N, N) -> rho * delta (B, N)."""
    count = squared.shape[1]
    near = squared.topk(min(NEIGHBOURS + 1, count), dim=2, largest=False).values[:, :, 1:]
    density = torch.exp(-near.mean(dim=2))
    own, other = density[:, :, None], density[:, None]
    places = torch.arange(count, device=squared.device)
    # Of equal ones the earlier counts as denser.
    denser = (other > own) | ((other == own) & (places[None] < places[:, None]))
    farthest = squared.max(dim=2).values
    infinite = torch.where(denser, squared, float("inf")).min(dim=2).values
    to_denser = torch.minimum(infinite, farthest)
    return density * to_denser.sqrt()


class Codec(nn.Module):
    """Symbols (B, T, R) -> tokens (B, T, D): the mean, and a code's vector of each stage."""

    def __init__(self, mean: Tensor, basis: Tensor, codebooks: Tensor) -> None:
        """`mean` (D), `basis` (d, D) with orthonormal rows, `codebooks` (R, C, d)."""
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("basis", basis)
        self.register_buffer("codebooks", codebooks)

    @property
    def stages(self) -> int:
        return int(self.codebooks.shape[0])

    @property
    def codes(self) -> int:
        """Of each stage."""
        return int(self.codebooks.shape[1])

    def forward(self, symbols: Tensor) -> Tensor:
        """Integers (B, T, R), each in 0..C - 1."""
        found = [F.embedding(symbols[..., r], self.codebooks[r]) for r in range(self.stages)]
        tokens: Tensor = self.mean + torch.stack(found).sum(dim=0) @ self.basis
        return tokens

    def encode(self, tokens: Tensor) -> Tensor:
        """Tokens (B, K, D) -> int64 (B, K, R): in each stage the nearest code to what is left."""
        left = (tokens - self.mean) @ self.basis.t()
        stages = []
        for codebook in self.codebooks:
            code = _nearest(left, codebook)
            stages.append(code)
            left = left - F.embedding(code, codebook)
        return torch.stack(stages, dim=-1)


def _nearest(vectors: Tensor, codebook: Tensor) -> Tensor:
    """Vectors (..., d), codebook (C, d) -> int64 (...)."""
    products = vectors @ codebook.t()
    return ((codebook**2).sum(dim=1) - 2 * products).argmin(dim=-1)


@torch.no_grad()
def fit(tokens: Tensor, shape: CodecShape, seed: int) -> Codec:
    """Fit a codec to the merged tokens (M, K, D) of M images; the same seed gives the same codec.

    With few vectors there are fewer codes, and with very few of them distinct, codes of no use.
    """
    vectors = tokens.reshape(-1, tokens.shape[-1])
    mean = vectors.mean(dim=0)
    basis = _principal(vectors - mean)
    left = (vectors - mean) @ basis.t()
    codes = max(2, min(shape.codes, len(left) // VECTORS_A_CODE))
    generator = torch.Generator().manual_seed(seed)
    codebooks = []
    with Bar("fit the codec, stages", shape.stages) as bar:
        for stage in range(shape.stages):
            codebook = k_means(left, codes, generator)
            codebooks.append(codebook)
            left = left - codebook[_nearest(left, codebook)]
            bar.show(stage + 1)
    return Codec(mean, basis, torch.stack(codebooks))


def _principal(centred: Tensor) -> Tensor:
    """The fewest principal axes (d, D) that keep `KEPT_VARIANCE` of vectors (n, D)."""
    powers, axes = torch.linalg.eigh((centred.t() @ centred).double())
    powers, axes = powers.flip(0).clamp(min=0), axes.flip(1)
    share = powers.cumsum(0) / powers.sum().clamp(min=1e-12)
    kept = int((share < KEPT_VARIANCE).sum()) + 1
    # The sign of an axis is arbitrary; fix it, so that every machine finds the same.
    axes = axes[:, : min(kept, MAX_AXES, len(powers))].t()
    strongest = axes.abs().argmax(dim=1, keepdim=True)
    return (axes * axes.gather(1, strongest).sign()).float().contiguous()


def k_means(vectors: Tensor, codes: int, generator: torch.Generator) -> Tensor:
    """Centres (codes, d) of vectors (n, d) by Lloyd's algorithm from a k-means++ start.

    A centre that no vector is nearest to moves to the vector that is worst off.
    """
    centres = _spread(vectors, codes, generator)
    for _ in range(ROUNDS):
        nearest = _nearest(vectors, centres)
        counts = torch.bincount(nearest, minlength=codes)
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        moved = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        if len(empty):
            errors = ((vectors - centres[nearest]) ** 2).sum(dim=1)
            moved[empty] = vectors[errors.topk(len(empty)).indices]
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def _spread(vectors: Tensor, codes: int, generator: torch.Generator) -> Tensor:
    """k-means++ (Arthur and Vassilvitskii, 2007): far vectors are likely to be the next centre."""
    chosen = [int(torch.randint(len(vectors), (1,), generator=generator))]
    errors = ((vectors - vectors[chosen[0]]) ** 2).sum(dim=1)
    while len(chosen) < codes:
        # With fewer distinct vectors than codes nothing is left to cover: any will do.
        weights = errors if bool(errors.any()) else torch.ones_like(errors)
        cumulative = weights.double().cumsum(0)
        at = torch.rand(1, generator=generator, dtype=torch.float64) * cumulative[-1]
        chosen.append(min(int(torch.searchsorted(cumulative, at)), len(vectors) - 1))
        errors = torch.minimum(errors, ((vectors - vectors[chosen[-1]]) ** 2).sum(dim=1))
    return vectors[chosen]

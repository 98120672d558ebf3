"""The encoder of photos: EfficientNet-Lite0, then queries that gather the task tokens.

    image -> trunk (B, 1280, 7, 7) -> each token's attention over the places -> latent (B, K, D)

Tokens are ordered: the first layer alone is a coarser description (nested dropout, Rippel et al.,
1402.0915). Quantization is finite scalar quantization (Mentzer et al., 2309.15505); the gradient
passes straight through the rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aiflow.training.efficientnet import CHANNELS, SIDE, EfficientNetLite0

PLACES = 7
HEADS = 4


@dataclass(frozen=True, slots=True)
class PhotoShape:
    """K = `layers[-1]` task tokens of `dims` symbols of `levels` values."""

    layers: tuple[int, ...] = (8, 18)
    dims: int = 6
    levels: int = 4
    channels: int = 256

    width = height = SIDE

    @property
    def tokens(self) -> int:
        return self.layers[-1]


class Gather(nn.Module):
    """Features (B, 1280, 7, 7) -> latent (B, K, D) in levels, 0 being the middle one."""

    def __init__(self, shape: PhotoShape) -> None:
        super().__init__()
        self.shape = shape
        tokens, channels = shape.tokens, shape.channels
        self.key = nn.Conv2d(CHANNELS, channels, 1)
        self.value = nn.Conv2d(CHANNELS, channels, 1)
        self.where = nn.Parameter(torch.zeros(1, channels, PLACES, PLACES))
        self.query = nn.Parameter(torch.randn(tokens, channels) * 0.1)
        self.whole = nn.Linear(CHANNELS, channels)
        self.mid = nn.Linear(2 * channels, 2 * channels)
        self.bias = nn.Parameter(torch.zeros(tokens, 2 * channels))
        self.slot = nn.Parameter(
            torch.randn(tokens, 2 * channels, shape.dims) * (2 * channels) ** -0.5
        )
        # Its running mean keeps the symbols spread over the levels while the code forms.
        self.bn = nn.BatchNorm1d(tokens * shape.dims)

    def forward(self, features: Tensor) -> Tensor:
        tokens, channels = self.shape.tokens, self.shape.channels
        batch, inside = features.shape[0], channels // HEADS
        keys, values = (
            (layer(features) + self.where).reshape(batch, HEADS, inside, PLACES * PLACES)
            for layer in (self.key, self.value)
        )
        queries = self.query.reshape(tokens, HEADS, inside).transpose(0, 1)
        attention = torch.softmax(queries[None] @ keys * inside**-0.5, dim=-1)
        gathered = (attention @ values.transpose(2, 3)).transpose(1, 2)
        gathered = gathered.reshape(batch, tokens, channels)
        whole = self.whole(features.mean((2, 3)))[:, None].expand(-1, tokens, -1)
        hidden = torch.relu(self.mid(torch.cat([gathered, whole], dim=2)) + self.bias)
        raw = torch.matmul(hidden[:, :, None], self.slot).reshape(batch, -1)
        spread = torch.sigmoid(self.bn(raw) * 1.6) - 0.5
        return spread.reshape(batch, tokens, -1) * (self.shape.levels - 0.4)


class PhotoEncoder(nn.Module):
    """Images uint8 (B, 224, 224, 3) BGR -> latent float32 (B, K, D) in level units."""

    def __init__(self, shape: PhotoShape, trunk: EfficientNetLite0) -> None:
        super().__init__()
        self.shape, self.trunk, self.gather = shape, trunk, Gather(shape)

    def from_stem(self, features: Tensor) -> Tensor:
        """What the trunk's untrained part gives, (B, 192, 7, 7) -> latent."""
        latent: Tensor = self.gather(self.trunk.tail_features(features))
        return latent

    def forward(self, image: Tensor) -> Tensor:
        return self.from_stem(self.trunk.stem_features(image))


def symbols_of(latent: Tensor, levels: int) -> Tensor:
    """Latent float -> symbols int64, as `aiflow.common.encoder` rounds."""
    return torch.round(latent + (levels - 1) / 2).clamp(0, levels - 1).long()

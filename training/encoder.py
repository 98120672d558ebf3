"""The vision encoder: a small convolutional network that ends in ordered task tokens.

    image -> convolutions -> slot pooling -> base tokens, refinement tokens
                                                  | FSQ + uniform noise
                                             fact heads   (the task)
                                             rate model   (the price)

The bottleneck is a variational information bottleneck: the distortion is the
cross-entropy of the scene's facts, the rate is the code length of the tokens
under a learned conditional prior. Quantization is finite scalar quantization
(Mentzer et al., 2309.15505), relaxed in training by additive uniform noise
(Balle et al., 1611.01704).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CENTRE = 128
"""The pixel that the first layer sees as 0: a whole level, with which int8 tensors pad too."""
SPREAD = 64
"""Pixel levels that the first layer sees as 1; their inverse is the scale of an int8 input."""


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """Sizes of the encoder; `height` and `width` in pixels, `levels` per dimension."""

    width: int = 160
    height: int = 120
    channels: tuple[int, int, int] = (32, 64, 128)
    slots: int = 7
    maps: int = 4
    hidden: int = 256
    dims: int = 6
    levels: int = 5

    @property
    def tokens(self) -> int:
        return 2 * self.slots


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalization, ReLU: the one block that every int8 runtime fuses."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.second(self.first(features)))


class SlotPooling(nn.Module):
    """Learned weighted averages over positions, several maps for each slot.

    The weights do not depend on the input, so that the layer is one matrix
    product: (B, C, P) -> (B, slots, maps * C).
    """

    def __init__(self, shape: EncoderShape, rows: int, columns: int) -> None:
        super().__init__()
        self.shape = shape
        weights = torch.randn(shape.slots * shape.maps, rows * columns) * 0.02
        grid_y, grid_x = torch.meshgrid(
            (torch.arange(rows) + 0.5) / rows,
            (torch.arange(columns) + 0.5) / columns,
            indexing="ij",
        )
        # Start as soft windows over the picture's thirds; training moves them.
        for slot in range(shape.slots):
            centre_x = 0.5 if slot == 0 else ((1, 0, 2)[(slot - 1) % 3] + 0.5) / 3
            spread = 10.0 if slot == 0 else 0.12
            window = torch.exp(-((grid_x - centre_x) ** 2) / (2 * spread**2))
            for index in range(shape.maps):
                centre_y = (index + 0.5) / shape.maps
                band = torch.exp(-((grid_y - centre_y) ** 2) / (2 * 0.2**2))
                start = (window * band).flatten()
                weights[slot * shape.maps + index] += start / start.sum()
        self.mix = nn.Linear(rows * columns, shape.slots * shape.maps, bias=False)
        self.mix.weight.data = weights

    def forward(self, features: Tensor) -> Tensor:
        batch, channels = features.shape[:2]
        pooled = self.mix(features.flatten(2)).transpose(1, 2)
        return pooled.reshape(batch, self.shape.slots, self.shape.maps * channels)


class SlotLinear(nn.Module):
    """A linear layer shared by all slots, with a bias of its own for each slot."""

    def __init__(self, slots: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(slots, outputs))

    def forward(self, slots: Tensor) -> Tensor:
        mixed: Tensor = self.linear(slots)
        return mixed + self.bias


class Encoder(nn.Module):
    """Images uint8 (B, H, W, 3) BGR -> latent float32 (B, tokens, dims) in level units."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        a, b, d = shape.channels
        # A wide first stride: full-resolution stages cost more memory traffic than they earn.
        self.backbone = nn.Sequential(
            conv(3, a, 4, 7),
            conv(a, b, 2),
            Residual(b),
            Residual(b),
            conv(b, d, 2),
            Residual(d),
        )
        rows, columns = (shape.height + 15) // 16, (shape.width + 15) // 16
        self.pool = SlotPooling(shape, rows, columns)
        self.globals_in = nn.Linear(shape.maps * d, shape.hidden)
        self.cells_in = SlotLinear(shape.slots - 1, shape.maps * d, shape.hidden)
        self.cells_mid = SlotLinear(shape.slots - 1, shape.hidden, shape.hidden)
        self.globals_out = nn.Linear(shape.hidden, 2 * shape.dims)
        self.cells_out = SlotLinear(shape.slots - 1, shape.hidden, 2 * shape.dims)

    def features(self, image: Tensor) -> Tensor:
        """Return the feature map (B, channels, rows, columns)."""
        pixels = (image.permute(0, 3, 1, 2).float() - CENTRE) / SPREAD
        mapped: Tensor = self.backbone(pixels.contiguous(memory_format=torch.channels_last))
        return mapped

    def hidden(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden features of the globals (B, hidden) and of the cells (B, 6, hidden)."""
        pooled = self.pool(features)
        of_globals = torch.relu(self.globals_in(pooled[:, 0]))
        of_cells = torch.relu(self.cells_mid(torch.relu(self.cells_in(pooled[:, 1:]))))
        return of_globals, of_cells

    def bound(self, raw: Tensor) -> Tensor:
        """Squash to the range of the levels, with room to reach the outermost ones."""
        return torch.tanh(raw) * ((self.shape.levels - 1) / 2 + 0.3)

    def latent(self, of_globals: Tensor, of_cells: Tensor) -> Tensor:
        raw = torch.cat([self.globals_out(of_globals)[:, None], self.cells_out(of_cells)], dim=1)
        base, refinement = raw.split(self.shape.dims, dim=2)
        return self.bound(torch.cat([base, refinement], dim=1))

    def forward(self, image: Tensor) -> Tensor:
        return self.latent(*self.hidden(self.features(image)))


def quantize(latent: Tensor, levels: int, *, noise: bool) -> Tensor:
    """Relax or round: uniform noise while the code forms, then rounding.

    The gradient passes straight through the rounding.
    """
    half = (levels - 1) / 2
    if noise:
        return latent + torch.rand_like(latent) - 0.5
    rounded = torch.round(latent + half).clamp(0, levels - 1) - half
    return latent + (rounded - latent).detach()


class FactHeads(nn.Module):
    """Facts from tokens: the task that defines what is worth a bit.

    `layers` says how many layers of tokens are read (1: base, 2: base and refinement).
    """

    def __init__(
        self, shape: EncoderShape, global_sizes: tuple[int, ...], cell_sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.global_sizes, self.cell_sizes = global_sizes, cell_sizes
        width = shape.hidden
        self.of_globals = self._head(2 * shape.dims + 1, width, sum(global_sizes))
        self.of_cells = self._head(2 * shape.dims + 1, width, sum(cell_sizes))

    @staticmethod
    def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Linear(inputs, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, outputs),
        )

    def forward(self, tokens: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """Tokens (B, 2 * slots, dims) -> logits (B, sum(global_sizes)), (B, 6, sum(cell_sizes))."""
        base, refinement = tokens.chunk(2, dim=1)
        if layers == 1:
            refinement = torch.zeros_like(refinement)
        flag = torch.full_like(base[..., :1], layers - 1.0)
        merged = torch.cat([base, refinement, flag], dim=2)
        return self.of_globals(merged[:, 0]), self.of_cells(merged[:, 1:])


class DirectHeads(nn.Module):
    """Facts straight from the features: keeps the backbone's gradient clean of the bottleneck."""

    def __init__(
        self, shape: EncoderShape, global_sizes: tuple[int, ...], cell_sizes: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.of_globals = nn.Linear(shape.hidden, sum(global_sizes))
        self.of_cells = nn.Linear(shape.hidden, sum(cell_sizes))

    def forward(self, of_globals: Tensor, of_cells: Tensor) -> tuple[Tensor, Tensor]:
        return self.of_globals(of_globals), self.of_cells(of_cells)


class LocalHeads(nn.Module):
    """A thing's attributes read off the one place of the feature map where it stands.

    Pooling dilutes the gradient of what only an arrangement of parts tells: without this, the
    encoder names kinds and colours, but left and right stay at chance for very long.
    """

    def __init__(self, shape: EncoderShape, cell_sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.sizes = cell_sizes
        self.read = nn.Linear(shape.channels[-1], sum(cell_sizes))

    def forward(self, features: Tensor, spots: Tensor, cells: Tensor) -> Tensor:
        """Cross-entropy in nats a scene.

        features (B, C, rows, columns); spots int (B, 6, 2), row and column of each cell's thing
        or -1; cells int (B, 6, attributes).
        """
        scene, cell = torch.nonzero(spots[..., 0] >= 0, as_tuple=True)
        row, column = spots[scene, cell].long().unbind(1)
        logits = self.read(features.permute(0, 2, 3, 1)[scene, row, column])
        targets = cells[scene, cell].long()
        losses = [
            F.cross_entropy(part, targets[:, index], reduction="sum")
            for index, part in enumerate(logits.split(self.sizes, dim=-1))
        ]
        return torch.stack(losses).sum() / features.shape[0]


class RateModel(nn.Module):
    """Conditional prior of the tokens, a mixture of logistics given the earlier dimensions.

    Shared by all cells, since they share the encoder's head; the global token has its own.
    Refinement dimensions see the base token of the same slot.
    """

    def __init__(self, shape: EncoderShape, mixtures: int = 4, width: int = 64) -> None:
        super().__init__()
        self.shape, self.mixtures = shape, mixtures
        total = 2 * shape.dims
        self.nets = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(
                    nn.Linear(max(index, 1), width), nn.ReLU(), nn.Linear(width, 3 * mixtures)
                )
                for index in range(total)
            )
            for _ in range(2)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, 2 * slots, dims) -> bits float (B, 2): of the base and of the refinement."""
        base, refinement = tokens.chunk(2, dim=1)
        merged = torch.cat([base, refinement], dim=2)
        bits = [
            self._bits(self.nets[0], merged[:, :1]),
            self._bits(self.nets[1], merged[:, 1:]),
        ]
        per_dim = torch.cat(bits, dim=1).sum(dim=1)
        dims = self.shape.dims
        return torch.stack([per_dim[:, :dims].sum(1), per_dim[:, dims:].sum(1)], dim=1)

    @staticmethod
    def _bits(nets: nn.ModuleList, values: Tensor) -> Tensor:
        columns = []
        for index, net in enumerate(nets):
            context = values[..., :index] if index else torch.zeros_like(values[..., :1])
            weight, mean, scale = net(context).chunk(3, dim=-1)
            spread = F.softplus(scale) + 0.03
            centred = values[..., index, None] - mean * 2
            mass = torch.sigmoid((centred + 0.5) / spread) - torch.sigmoid((centred - 0.5) / spread)
            likelihood = (torch.softmax(weight, dim=-1) * mass).sum(-1)
            columns.append(-torch.log2(likelihood.clamp_min(1e-6)))
        return torch.stack(columns, dim=-1)


def fact_loss(
    logits: tuple[Tensor, Tensor],
    targets: tuple[Tensor, Tensor],
    sizes: tuple[tuple[int, ...], tuple[int, ...]],
) -> Tensor:
    """Cross-entropy in nats a scene: the sum over attributes, empty cells' attributes left out."""
    total = torch.zeros(())
    for values, target, split in zip(logits, targets, sizes, strict=True):
        for index, part in enumerate(values.split(split, dim=-1)):
            flat = target[..., index].reshape(-1).long()
            total = total + F.cross_entropy(
                part.reshape(flat.shape[0], -1), flat, ignore_index=-1, reduction="sum"
            )
    return total / logits[0].shape[0]

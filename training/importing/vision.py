"""The vision model of an imported captioner, with the preprocessing in front of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from aiflow.common.errors import SourceInvalid

_FILES: Final = ("preprocessor_config.json", "processor_config.json")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From pixels 0..255 to what the model reads: (pixel * scale - mean) / std, in RGB.

    `cropped`: the model's own preprocessing keeps the aspect ratio and cuts off what is too much.
    """

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    cropped: bool

    @classmethod
    def read(cls, folder: Path) -> Preprocessing:
        """Read what transformers' image processor was saved as; raises SourceInvalid."""
        for name in _FILES:
            path = folder / name
            if not path.is_file():
                continue
            raw = json.loads(path.read_text(encoding="utf-8"))
            raw = raw.get("image_processor", raw)
            if raw.get("do_normalize", True) and not {"image_mean", "image_std"} <= raw.keys():
                continue
            return cls._of(raw)
        raise SourceInvalid(
            f"{folder} has no {_FILES[0]} with image_mean and image_std, which say how the model "
            "takes its pictures; get it from where the model comes from"
        )

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Preprocessing:
        normalized = raw.get("do_normalize", True)
        size = raw.get("size")
        return cls(
            scale=float(raw.get("rescale_factor", 1 / 255)) if raw.get("do_rescale", True) else 1.0,
            mean=_triple(raw["image_mean"]) if normalized else (0.0,) * 3,
            std=_triple(raw["image_std"]) if normalized else (1.0,) * 3,
            cropped=bool(raw.get("do_center_crop"))
            or (isinstance(size, dict) and "shortest_edge" in size),
        )


class Vision(nn.Module):
    """image float (B, H, W, 3) BGR in 0..255 -> hidden (B, N, D)."""

    def __init__(self, see: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.see = see
        std = torch.tensor(preprocessing.std)
        mean = torch.tensor(preprocessing.mean)
        self.gain = nn.Buffer((preprocessing.scale / std)[:, None, None])
        self.offset = nn.Buffer((-mean / std)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        red_first = image.permute(0, 3, 1, 2)[:, [2, 1, 0]]
        hidden: Tensor = self.see(pixel_values=red_first * self.gain + self.offset)[0]
        return hidden


def _triple(values: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(values) if isinstance(values, Sequence) else (float(values),) * 3

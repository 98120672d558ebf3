"""The vision model of an imported captioner, with the preprocessing in front of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from aiflow.common.errors import SourceInvalid
from aiflow.training.importing.source import read_object

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
            raw = read_object(path)
            raw = raw.get("image_processor", raw)
            if not isinstance(raw, dict):
                raise SourceInvalid(f"image_processor in {path} is no JSON object; correct it")
            if raw.get("do_normalize", True) and not {"image_mean", "image_std"} <= raw.keys():
                continue
            try:
                return cls._of(raw)
            except (TypeError, ValueError) as exc:
                raise SourceInvalid(f"{path} cannot be used: {exc}; correct it") from exc
        raise SourceInvalid(
            f"{folder} has no {_FILES[0]} with image_mean and image_std, which say how the model "
            "takes its pictures; get it from where the model comes from"
        )

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> Preprocessing:
        normalized = raw.get("do_normalize", True)
        size = raw.get("size")
        scaled = raw.get("do_rescale", True)
        scale = _numbers(raw, "rescale_factor") if scaled and "rescale_factor" in raw else None
        std = _numbers(raw, "image_std") if normalized else (1.0,) * 3
        if min(map(abs, std)) == 0:
            raise ValueError("image_std is 0, by which nothing can be divided")
        return cls(
            scale=scale[0] if scale else 1 / 255 if scaled else 1.0,
            mean=_numbers(raw, "image_mean") if normalized else (0.0,) * 3,
            std=std,
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


def _numbers(raw: dict[str, Any], name: str) -> tuple[float, ...]:
    """One for each of three channels; a single one is all three's. Raises ValueError."""
    given = raw[name]
    values = given if isinstance(given, list) else [given]
    right = all(type(one) in {int, float} and math.isfinite(one) for one in values)
    if not right or len(values) not in {1, 3}:
        raise ValueError(f"{name} must be a number, or three, for red, green and blue")
    return tuple(map(float, values)) * (3 // len(values))

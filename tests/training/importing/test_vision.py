"""What a picture becomes before the vision model, against transformers' own processors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra import")
transformers = pytest.importorskip("transformers", reason="needs the extra import")

from torch import nn  # noqa: E402

from aiflow.common.errors import SourceInvalid  # noqa: E402
from aiflow.training.importing.vision import Preprocessing, Vision  # noqa: E402

PLAIN, CROPPED = {"height": 24, "width": 32}, {"shortest_edge": 24}


class Watch(nn.Module):
    """A vision model that gives back its pixels."""

    def forward(self, pixel_values: Any) -> tuple[Any]:
        return (pixel_values,)


@pytest.mark.parametrize(
    "processor, options, cropped",
    [
        ("ViTImageProcessorPil", {"size": PLAIN}, False),
        ("ViTImageProcessorPil", {"size": PLAIN, "do_normalize": False}, False),
        ("ViTImageProcessorPil", {"size": PLAIN, "do_rescale": False}, False),
        ("BlipImageProcessorPil", {"size": PLAIN}, False),
        (
            "CLIPImageProcessorPil",
            {"size": CROPPED, "crop_size": PLAIN, "do_center_crop": True},
            True,
        ),
    ],
)
def test_pixels_are_those_of_transformers(
    processor: str, options: dict[str, Any], cropped: bool, tmp_path: Path
) -> None:
    own = getattr(transformers, processor)(**options)
    own.save_pretrained(tmp_path)
    preprocessing = Preprocessing.read(tmp_path)
    image = np.random.default_rng(1).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    wanted = own([image], return_tensors="np")["pixel_values"]
    blue_first = torch.from_numpy(image[None, ..., ::-1].astype(np.float32))
    found = Vision(Watch(), preprocessing)(blue_first)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-3 if wanted.max() > 9 else 1e-5)
    assert preprocessing.cropped == cropped


def test_an_image_processor_inside_a_whole_processor_is_found(tmp_path: Path) -> None:
    inner = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "rescale_factor": 0.5}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"processor_class": "Git"}))
    found = Preprocessing.read(tmp_path)
    assert found == Preprocessing(0.5, (0.5,) * 3, (0.25,) * 3, cropped=False)


def test_without_mean_and_deviation_nothing_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match="image_mean and image_std"):
        Preprocessing.read(tmp_path)

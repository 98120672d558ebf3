"""Conversion to int8, ONNX and TFLite, of a small untrained encoder.

TFLite needs the environment that scripts/train makes. With --regenerate-vectors, what was made
is packed into tests/vectors/models.npz, which tests/common/test_runtime.py runs everywhere.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnx", reason="needs the extra train")

import torch

from aiflow.common.runtime import LiteRtModel, Model, OnnxModel
from aiflow.training.encoder import Encoder, EncoderShape
from aiflow.training.environment import package_path
from aiflow.training.export import quantize_encoder

ROOT = Path(__file__).resolve().parents[2]
VECTORS = ROOT / "tests" / "vectors"
PYTHON = ROOT / "build" / "litert-venv" / "bin" / "python"
SHAPE = EncoderShape(32, 32, channels=(4, 4, 8), slots=3, maps=2, hidden=8, dims=4, levels=5)


@dataclass(frozen=True)
class Made:
    """A folder of models, with the images they were calibrated with and what they should give."""

    folder: Path
    images: NDArray[np.uint8]
    expected: dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    if not PYTHON.exists():
        pytest.skip("needs build/litert-venv: scripts/train makes it")
    folder = tmp_path_factory.mktemp("models")
    with package_path() as path:
        subprocess.run(
            [PYTHON, "-P", Path(__file__).with_name("tflite_models.py"), folder],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
            capture_output=True,
        )
    with np.load(folder / "expected.npz") as file:
        expected = dict(file)
    images = expected["blots"].repeat(8, axis=1).repeat(8, axis=2)
    encoder = Encoder(SHAPE)
    encoder.load_state_dict(torch.load(folder / "encoder.pt"))
    quantize_encoder(encoder.eval(), folder / "encoder.onnx", images)
    return Made(folder, images, expected)


def symbols(latents: NDArray[np.float32]) -> NDArray[Any]:
    top = SHAPE.levels - 1
    rounded: NDArray[Any] = np.clip(np.rint(latents + top / 2), 0, top)
    return rounded


def outputs(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([model.run(image[None])[0] for image in images])


@pytest.mark.timeout(240)
def test_int8_encoders_give_the_symbols_of_the_float_one(made: Made) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    wanted = symbols(made.expected["latents"])
    assert len(np.unique(wanted)) == SHAPE.levels
    for model in (
        OnnxModel(made.folder / "encoder.onnx"),
        LiteRtModel(made.folder / "encoder.tflite"),
    ):
        assert np.mean(symbols(outputs(model, made.images)) == wanted) > 0.95


@pytest.mark.timeout(240)
def test_pack_the_models(made: Made, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("regenerate_vectors"):
        pytest.skip("only with --regenerate-vectors")
    models = {
        name.replace(".", "_"): np.frombuffer((made.folder / name).read_bytes(), np.uint8)
        for name in ("encoder.onnx", "encoder.tflite", "vector.tflite")
    }
    expected = {name: rows[:8] for name, rows in made.expected.items()}
    np.savez_compressed(VECTORS / "models.npz", **models, **expected)  # type: ignore[arg-type]

"""A float encoder of a few hundred weights, with the cuts of the real one, and pictures for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.captioner import Draft, Request

if TYPE_CHECKING:
    from aiflow.bench.baselines.split import FloatEncoder
    from aiflow.bench.baselines.way import Picture

WIDTH, HEIGHT = 32, 24
TOKENS, DIMS, LEVELS = 4, 3, 5


class Parrot:
    """Captions that name the symbols, and a list of what it was asked."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        self.asked += [request.symbols.tobytes() for request in batch]
        return [
            Draft(tokens=(), text=" ".join(f"s{symbol}" for symbol in one.symbols.ravel()),
                  confidence=1.0)
            for one in batch
        ]  # fmt: skip


def write_encoder(path: Path) -> None:
    """image uint8 (1, 24, 32, 3) -> map (1, 8, 3, 4) -> pooled (1, 4, 8) -> latent (1, 4, 3)."""
    onnx = pytest.importorskip("onnx", reason="needs the extra bench")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    rng = np.random.default_rng(5)
    weights = {
        "kernel": rng.normal(0, 0.002, (8, 3, 8, 8)),
        "mix": rng.normal(0, 0.5, (12, 4)),
        "head": rng.normal(0, 0.8, (8, DIMS)),
        "reach": np.array(2.3),
    }
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["pixels"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["pixels", "kernel"], ["raw"], strides=[8, 8]),
        helper.make_node("Relu", ["raw"], ["map"]),
        # As torch exports `flatten`: the shape is read off the tensor.
        helper.make_node("Shape", ["map"], ["shape"], start=0, end=2),
        helper.make_node("Concat", ["shape", "rest"], ["flat_shape"], axis=0),
        helper.make_node("Reshape", ["map", "flat_shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "mix"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["slots"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["slots", "head"], ["far"]),
        helper.make_node("Tanh", ["far"], ["near"]),
        helper.make_node("Mul", ["near", "reach"], ["latent"]),
    ]
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([-1], np.int64), "rest"))
    image = helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])
    latent = helper.make_tensor_value_info("latent", onnx.TensorProto.FLOAT, [1, TOKENS, DIMS])
    graph = helper.make_graph(nodes, "tiny", [image], [latent], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


@pytest.fixture
def encoder_path(tmp_path: Path) -> Path:
    path = tmp_path / "encoder.float.onnx"
    write_encoder(path)
    return path


@pytest.fixture
def float_encoder(encoder_path: Path) -> FloatEncoder:
    from aiflow.bench.baselines.split import FloatEncoder  # noqa: PLC0415  needs the extra bench

    return FloatEncoder(encoder_path, (WIDTH, HEIGHT), (LEVELS,) * DIMS)


def soft_image(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Something like a photograph: smooth, with edges; (480, 640, 3)."""
    coarse = rng.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.ascontiguousarray(coarse.repeat(80, axis=0).repeat(80, axis=1))


@pytest.fixture
def pictures(float_encoder: FloatEncoder) -> list[Picture]:
    from aiflow.bench.baselines.way import Picture  # noqa: PLC0415  needs the extra bench

    rng = np.random.default_rng(7)
    return [Picture.of(soft_image(rng), float_encoder) for _ in range(12)]

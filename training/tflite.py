"""Convert a trained encoder to int8 TFLite. Runs in the environment of training/litert.txt.

    python -m aiflow.training.tflite encoder.pt images.npy encoder.tflite

LiteRT's converters cannot be installed beside what the rest needs, so that this file imports
only them, torch, and the modules that need no more than torch. Everything is int8, pixels and
latent included: the stored form of a pixel is its level minus 128.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litert_torch
import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import calibrator, quantizer, recipe, recipe_manager
from ai_edge_quantizer.utils import qsv_utils, tfl_flatbuffer_utils
from numpy.typing import NDArray

from aiflow.training.deploy import GROUP, TfliteForm
from aiflow.training.encoder import CENTRE, SPREAD, Encoder, EncoderShape

SIGNATURE, INPUT = "serving_default", "args_0"
"""What litert-torch calls the only signature and its only argument."""
MOVES = {
    schema.BuiltinOperator.CONCATENATION,
    schema.BuiltinOperator.RESHAPE,
    schema.BuiltinOperator.SLICE,
    schema.BuiltinOperator.STRIDED_SLICE,
    schema.BuiltinOperator.PAD,
}

Ranges = dict[str, dict[str, Any]]
"""Tensor name -> "min" and "max", arrays of one value: the quantizer's own form."""


def convert(encoder: Encoder, images: NDArray[np.uint8], target: Path) -> None:
    """Write the encoder as static int8, with `images` uint8 (N, H, W, 3) as calibration."""
    torch.set_num_threads(1)
    shape = encoder.shape
    example = torch.zeros(1, shape.height, shape.width, 3)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.tflite"
        litert_torch.convert(TfliteForm(encoder).eval(), (example,)).export(str(source))
        ranges = _observe(source, images)
        _improve(ranges, _Graph(source), encoder)
        tools = quantizer.Quantizer(str(source))
        tools.load_quantization_recipe(recipe.static_wi8_ai8())
        result = tools.quantize(ranges)
        result.export_model(str(target), overwrite=True)
    target.chmod(0o644)  # it is written as a program


def _observe(source: Path, images: NDArray[np.uint8]) -> Ranges:
    """Run the float model and take the range of every tensor: the mean over groups of pictures."""
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    runner = calibrator.Calibrator(
        source.read_bytes(), num_threads=1, qsv_update_func=qsv_utils.min_max_update
    )
    found: list[Ranges] = []
    for group in np.array_split(images, max(1, len(images) // GROUP)):
        pixels = [{INPUT: (image[None].astype(np.float32) - CENTRE) / SPREAD} for image in group]
        runner.reset_model_qsvs()
        runner.calibrate({SIGNATURE: pixels}, manager)
        found.append(dict(runner.get_model_qsvs()))
    return {
        name: {end: np.mean([ranges[name][end] for ranges in found], axis=0) for end in ends}
        for name, ends in found[0].items()
    }


def _improve(ranges: Ranges, graph: _Graph, encoder: Encoder) -> None:
    """Choose ranges where more is known than what the pictures showed."""
    # A pixel is stored as it is, whatever levels the calibration pictures had.
    for name in graph.moved_from(graph.inputs[0]):
        ranges[name] = _range(-128 / SPREAD, 127 / SPREAD)
    step = _step(encoder)
    for tanh in graph.of_kind(schema.BuiltinOperator.TANH):
        for name in graph.moved_to(tanh.inputs[0]):
            ranges[name] = _range(-128 * step, 127 * step)
    # What stays below 0 after a bias and a ReLU needs no steps of its own.
    for add in graph.of_kind(schema.BuiltinOperator.ADD):
        value, bias = add.inputs
        constant = graph.constant(bias)
        if constant is not None and _has_relu(add):
            name = graph.name(value)
            low = max(float(ranges[name]["min"].item()), -float(constant.max()))
            ranges[name] = _range(min(low, 0), float(ranges[name]["max"].item()))


def _step(encoder: Encoder) -> float:
    """Step of the stored values that `Encoder.bound` is given.

    Values beyond the outermost levels cannot change a symbol, so that all steps are spent
    within. The step is chosen so that every boundary between two levels falls between two
    stored values: rounding then goes to the side where the value was.
    """
    levels = encoder.shape.levels
    half = (levels - 1) / 2
    reach = encoder.bound(torch.tensor(1e3)).item()
    between = np.arange(levels - 1) - half + 0.5
    boundaries = np.arctanh(between / reach)
    limit = math.atanh(half / reach)
    steps = np.linspace(limit / 128, limit / 96, 1000)
    miss = np.abs((boundaries / steps[:, None]) % 1 - 0.5) * steps[:, None]
    # As latents move: less at the outer boundaries, where the curve is flat.
    moved = miss * (reach - between**2 / reach)
    return float(steps[np.argmin(moved.max(axis=1))])


def _range(low: float, high: float) -> dict[str, Any]:
    return {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}


def _has_relu(operator: Any) -> bool:
    options = operator.builtinOptions
    return bool(options.fusedActivationFunction == schema.ActivationFunctionType.RELU)


class _Graph:
    """The float model's graph, to find tensors by what is done with them."""

    def __init__(self, path: Path) -> None:
        self._model = tfl_flatbuffer_utils.read_model(path)
        self._graph = self._model.subgraphs[0]
        self.inputs = list(self._graph.inputs)

    def kind(self, operator: Any) -> int:
        return int(self._model.operatorCodes[operator.opcodeIndex].builtinCode)

    def of_kind(self, kind: int) -> Iterator[Any]:
        return (op for op in self._graph.operators if self.kind(op) == kind)

    def name(self, tensor: int) -> str:
        return str(tfl_flatbuffer_utils.get_tensor_name(self._graph.tensors[tensor]))

    def constant(self, tensor: int) -> NDArray[Any] | None:
        found: NDArray[Any] | None = tfl_flatbuffer_utils.get_tensor_data(
            self._graph.tensors[tensor], self._model.buffers
        )
        return found

    def moved_from(self, tensor: int) -> Iterator[str]:
        """Names of a tensor and of those that hold the same values after it."""
        found = {tensor}
        for operator in self._graph.operators:
            if self.kind(operator) in MOVES and operator.inputs[0] in found:
                found.update(operator.outputs)
        return map(self.name, found)

    def moved_to(self, tensor: int) -> Iterator[str]:
        """Names of a tensor and of those whose values it is put together from."""
        found = {tensor}
        for operator in reversed(self._graph.operators):
            if self.kind(operator) in MOVES and found.intersection(operator.outputs):
                found.update(i for i in operator.inputs if self.constant(i) is None)
        return map(self.name, found)


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("encoder", type=Path, help="state dict of the encoder, from its training")
    parser.add_argument("images", type=Path, help="uint8 (N, H, W, 3) of the calibration split")
    parser.add_argument("target", type=Path, help="the file to write")
    options = parser.parse_args(arguments)
    encoder = Encoder(EncoderShape())
    encoder.load_state_dict(torch.load(options.encoder, map_location="cpu"))
    convert(encoder.eval(), np.load(options.images), options.target)
    return 0


if __name__ == "__main__":
    sys.exit(main())

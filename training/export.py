"""Export trained models: the encoder as int8 ONNX, the decoders as ONNX with a KV cache."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from aiflow.training.decoder import VISUAL, Decoder
from aiflow.training.encoder import Encoder

OPSET = 17


class _Images(CalibrationDataReader):
    """Feeds calibration pictures one by one."""

    def __init__(self, images: NDArray[np.uint8]) -> None:
        self._rows: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        row = next(self._rows, None)
        return None if row is None else {"image": row[None]}


def export_encoder(encoder: Encoder, path: Path) -> None:
    """Write the float encoder: "image" uint8 (1, H, W, 3) -> "latent" float32 (1, K, D)."""
    shape = encoder.shape
    image = torch.zeros(1, shape.height, shape.width, 3, dtype=torch.uint8)
    _export(encoder, (image,), path, ["image"], ["latent"], {})


def quantize_encoder(
    source: Path, target: Path, images: NDArray[np.uint8], float_nodes: tuple[str, ...] = ()
) -> None:
    """Quantize to static QDQ int8 with `images` uint8 (N, H, W, 3) of the calibration split.

    Weights use 7 bits: x86 cores without VNNI saturate at 8, and the stream must mean the
    same on every machine.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(target),
        _Images(images),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=list(float_nodes),
        extra_options={"ActivationSymmetric": False},
    )
    prepared.unlink()


class _WithPast(torch.nn.Module):
    """The decoder's graph as the captioner calls it."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        ids: torch.Tensor,
        symbols: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor,
        past: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits, present = self.decoder(ids, symbols, positions, mask, past)
        return logits, present


def export_decoder(decoder: Decoder, path: Path) -> None:
    """Write a decoder whose weights are stored as float16 and computed with as float32."""
    shape = decoder.shape
    size, steps, before = 2, 3, 4
    example = (
        torch.full((size, steps), VISUAL),
        torch.zeros(size, steps, shape.dims, dtype=torch.long),
        torch.arange(steps).expand(size, -1).contiguous(),
        torch.ones(size, steps, before + steps, dtype=torch.bool),
        torch.zeros(shape.layers, 2, size, shape.heads, before, shape.width // shape.heads),
    )
    axes = {
        "ids": {0: "batch", 1: "steps"},
        "symbols": {0: "batch", 1: "steps"},
        "positions": {0: "batch", 1: "steps"},
        "mask": {0: "batch", 1: "steps", 2: "total"},
        "past": {2: "batch", 4: "before"},
        "logits": {0: "batch", 1: "steps"},
        "present": {2: "batch", 4: "steps"},
    }
    inputs = ["ids", "symbols", "positions", "mask", "past"]
    _export(_WithPast(decoder), example, path, inputs, ["logits", "present"], axes)
    _store_half(path)


def _export(
    module: torch.nn.Module,
    example: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    with warnings.catch_warnings():
        # The tracing exporter says at length that it is the older one; its graphs are the
        # plain ones that onnxruntime's quantizer fuses.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            example,
            str(path),
            input_names=inputs,
            output_names=outputs,
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def _store_half(path: Path) -> None:
    """Store large float32 weights as float16 behind a Cast, which the runtime folds at load."""
    model = onnx.load(str(path))
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < 256:
            kept.append(tensor)
            continue
        half = numpy_helper.from_array(array.astype(np.float16), f"{tensor.name}.half")
        kept.append(half)
        casts.append(helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    del graph.initializer[:]
    graph.initializer.extend(kept)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    onnx.save(model, str(path))

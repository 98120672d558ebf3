"""Export trained models: the encoder as int8 ONNX, the decoders as ONNX with a KV cache."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aiflow.training import efficientnet
from aiflow.training.decoder import VISUAL, Decoder
from aiflow.training.deploy import OnnxForm
from aiflow.training.encoder import CENTRE, SPREAD, Encoder
from aiflow.training.photo_encoder import PhotoEncoder
from aiflow.training.quantize import Range, quantize

OPSET = 17


def export_encoder(encoder: Encoder, path: Path) -> None:
    """Write the float encoder: "image" uint8 (1, H, W, 3) -> "latent" float32 (1, K, D)."""
    shape = encoder.shape
    image = torch.zeros(1, shape.height, shape.width, 3, dtype=torch.uint8)
    export_graph(encoder, (image,), path, ["image"], ["latent"], {})


def quantize_encoder(encoder: Encoder, path: Path, images: NDArray[np.uint8]) -> None:
    """Write the static int8 encoder: "image" uint8 (1, H, W, 3) -> "latent" float32 (1, K, D).

    `images` uint8 (N, H, W, 3) are of the calibration split. Pixels go into the first
    convolution as they are: their centre is its zero point.
    """
    form = OnnxForm(encoder)
    shape = encoder.shape
    prepared = path.with_suffix(".prepared.onnx")
    folded = _folded(form, torch.zeros(1, shape.height, shape.width, 3))
    export_graph(form, (folded,), prepared, ["image"], ["latent"], {})
    # Folds the constants that the exporter left as nodes.
    quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    prepared.unlink()
    pixels = (torch.from_numpy(image[None]).float() for image in images)
    samples = [_folded(form, (image - CENTRE) / SPREAD).numpy() for image in pixels]
    quantize(model, Range(1 / SPREAD, CENTRE), samples)
    _take_pictures(model, (shape.height, shape.width))
    onnx.save(model, str(path))


class PhotoForm(torch.nn.Module):
    """Pixels (1, 3, 224, 224) BGR in units of SPREAD -> latent, normalization folded away."""

    def __init__(self, encoder: PhotoEncoder) -> None:
        super().__init__()
        copy = deepcopy(encoder).eval()
        trunk = copy.trunk
        stem = fuse_conv_bn_eval(trunk.stem, trunk.stem_norm)
        stem.weight.data = stem.weight.data.flip(1)
        trunk.stem, trunk.stem_norm = stem, torch.nn.Identity()
        trunk.head, trunk.head_norm = (
            fuse_conv_bn_eval(trunk.head, trunk.head_norm),
            torch.nn.Identity(),
        )
        for block in trunk.blocks:
            for name in ("expand", "depthwise", "project"):
                if hasattr(block, name):
                    fused = fuse_conv_bn_eval(getattr(block, name), getattr(block, f"{name}_norm"))
                    setattr(block, name, fused)
                    setattr(block, f"{name}_norm", torch.nn.Identity())
        self.encoder = copy

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        latent: torch.Tensor = self.encoder.from_stem(self.encoder.trunk.centred_features(pixels))
        return latent


def export_photo_encoder(encoder: PhotoEncoder, path: Path) -> None:
    """Write the float encoder of photos, stored as float16: "image" uint8 (1, 224, 224, 3)."""
    image = torch.zeros(1, efficientnet.SIDE, efficientnet.SIDE, 3, dtype=torch.uint8)
    export_graph(encoder, (image,), path, ["image"], ["latent"], {})
    _store_half(path)


def quantize_photo_encoder(
    encoder: PhotoEncoder, path: Path, images: Sequence[NDArray[np.uint8]]
) -> None:
    """Write the static int8 encoder of photos; `images` uint8 (224, 224, 3) set the ranges."""
    side, centre, spread = efficientnet.SIDE, efficientnet.CENTRE, efficientnet.SPREAD
    prepared = path.with_suffix(".prepared.onnx")
    example = torch.zeros(1, 3, side, side)
    export_graph(PhotoForm(encoder), (example,), prepared, ["image"], ["latent"], {})
    quant_pre_process(str(prepared), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    prepared.unlink()
    samples = [
        ((image.astype(np.float32) - centre) / np.float32(spread)).transpose(2, 0, 1)[None]
        for image in images
    ]
    quantize(model, Range(1 / spread, centre), samples)
    _take_pictures(model, (side, side))
    onnx.save(model, str(path))
    _store_half(path, at_least=1 << 14)  # what is left as float, but for the scales


def _folded(form: OnnxForm, image: torch.Tensor) -> torch.Tensor:
    return form.body.fold(image).permute(0, 3, 1, 2).contiguous()


def _take_pictures(model: onnx.ModelProto, size: tuple[int, int]) -> None:
    """Let the model fold its pictures: onnxruntime computes with channels last, so it is free."""
    graph = model.graph
    channels, rows, columns = (d.dim_value for d in graph.input[0].type.tensor_type.shape.dim[1:])
    for node in graph.node:
        node.input[:] = ["folded" if name == "image" else name for name in node.input]
    first = [
        helper.make_node("Reshape", ["image", "side by side"], ["beside"], "beside"),
        helper.make_node("Transpose", ["beside"], ["folded"], "folded", perm=[0, 3, 1, 2]),
    ]
    rest = list(graph.node)
    del graph.node[:], graph.input[:]
    graph.node.extend([*first, *rest])
    target = np.array([1, rows, columns, channels], np.int64)
    graph.initializer.append(numpy_helper.from_array(target, "side by side"))
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, *size, 3]))
    onnx.checker.check_model(model)


class _WithPast(torch.nn.Module):
    """The decoder's graph as the captioner calls it."""

    def __init__(self, decoder: torch.nn.Module) -> None:
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
    cache = Cache(shape.layers, shape.heads, shape.width)
    export_cached(decoder, path, shape.dims, cache, before=4)


@dataclass(frozen=True, slots=True)
class Cache:
    """The sizes of a decoder's keys and values: (layers, 2, B, heads, P, width / heads)."""

    layers: int
    heads: int
    width: int


def export_cached(
    decoder: torch.nn.Module, path: Path, dims: int, cache: Cache, *, before: int
) -> None:
    """Write any decoder that is called as `training.decoder.Decoder` is, stored as float16.

    It is traced with `before` places in its past and `dims` symbols for each token.
    """
    size, steps = 2, 3
    example = (
        torch.full((size, steps), VISUAL),
        torch.zeros(size, steps, dims, dtype=torch.long),
        torch.arange(before, before + steps).expand(size, -1).contiguous(),
        torch.ones(size, steps, before + steps, dtype=torch.bool),
        torch.zeros(cache.layers, 2, size, cache.heads, before, cache.width // cache.heads),
    )
    axes = {
        "ids": {0: "batch", 1: "steps"},
        "symbols": {0: "batch", 1: "steps"},
        "positions": {0: "batch", 1: "steps"},
        "mask": {0: "batch", 1: "steps", 2: "total"},
        "past": {2: "batch", 4: "before"},
        # Not of every step, where a decoder has none to give after a visual token.
        "logits": {0: "batch", 1: "said"},
        "present": {2: "batch", 4: "steps"},
    }
    inputs = ["ids", "symbols", "positions", "mask", "past"]
    export_graph(_WithPast(decoder), example, path, inputs, ["logits", "present"], axes)
    _store_half(path)


def export_graph(
    module: torch.nn.Module,
    example: tuple[Any, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: dict[str, dict[int, str]],
) -> None:
    """Trace a module with an example and write its graph; `axes` names what may change size."""
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


def _store_half(path: Path, at_least: int = 256) -> None:
    """Store large float32 weights as float16 behind a Cast, which the runtime folds at load."""
    model = onnx.load(str(path))
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < at_least:
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

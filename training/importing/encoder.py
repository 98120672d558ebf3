"""The encoder of an imported bundle: vision model, merging and codec in one ONNX graph.

    image uint8 (1, H, W, 3) BGR -> vision -> merge -> codec -> latent float32 (1, K, R)

The latent is each stage's code, centred on 0, so that a device's rounding gives back the code.
"""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from aiflow.training.export import export_graph
from aiflow.training.importing.codec import Codec, Merge


class ImportedEncoder(nn.Module):
    """Everything that a device does with a picture before the range coder."""

    def __init__(self, vision: nn.Module, merge: Merge, codec: Codec) -> None:
        super().__init__()
        self.vision = vision
        self.merge = merge
        self.codec = codec

    def forward(self, image: Tensor) -> Tensor:
        codes = self.codec.encode(self.merge(self.vision(image.float())))
        return codes.float() - (self.codec.codes - 1) / 2


def export_encoder(encoder: ImportedEncoder, size: tuple[int, int], path: Path) -> None:
    """Write the float encoder; `size` is (width, height)."""
    export_graph(encoder, (_picture(size),), path, ["image"], ["latent"], {})


def quantize_encoder(source: Path, target: Path) -> None:
    """Write the encoder with int8 weights in the vision model's matrix products.

    Ranges of activations are found anew for each picture, so no calibration can be wrong. Merging
    and codec stay float: there a rounding difference would be another symbol. 7 bits of weight,
    since x86 without VNNI would saturate with 8.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    prepared.unlink()
    other = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and not node.name.startswith("/vision/")
    ]
    quantize_dynamic(
        model,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=other,
        extra_options={"MatMulConstBOnly": True},
    )


@torch.no_grad()
def macs(encoder: ImportedEncoder, size: tuple[int, int]) -> int:
    """Multiplications of one picture, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        encoder(_picture(size))
    return int(counter.get_total_flops() // 2)


def parameters(module: nn.Module) -> int:
    """How many numbers of it were trained; the codec's are fitted."""
    return sum(parameter.numel() for parameter in module.parameters())


def _picture(size: tuple[int, int]) -> Tensor:
    width, height = size
    return torch.zeros(1, height, width, 3, dtype=torch.uint8)

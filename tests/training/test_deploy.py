"""The forms for int8 runtimes, and quantization itself, on a small untrained encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnx", reason="needs the extra train")

import onnx
import torch
from onnx import numpy_helper

from aiflow.common.runtime import OnnxModel
from aiflow.training.deploy import OnnxForm, TfliteForm
from aiflow.training.encoder import CENTRE, SPREAD, Encoder, EncoderShape
from aiflow.training.export import quantize_encoder
from aiflow.training.quantize import Range, safe_scales

SHAPE = EncoderShape(32, 24, channels=(4, 8, 8), slots=3, maps=2, hidden=16, dims=4, levels=5)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    blots = np.random.default_rng(1).integers(0, 256, (32, 3, 4, 3), dtype=np.uint8)
    return torch.from_numpy(blots.repeat(8, axis=1).repeat(8, axis=2))


@pytest.fixture(scope="module")
def encoder(images: torch.Tensor) -> Encoder:
    torch.manual_seed(1)
    encoder = Encoder(SHAPE)
    with torch.no_grad():
        encoder.train()(images)
        encoder.pool.mix.weight.mul_(4)
        encoder.cells_out.linear.weight.mul_(8)
        for layer in (encoder.cells_in, encoder.cells_mid, encoder.cells_out):
            layer.bias.normal_()
    encoder.eval()
    return encoder


@pytest.mark.parametrize("form", [OnnxForm, TfliteForm])
def test_the_forms_compute_what_was_trained(
    form: type[OnnxForm | TfliteForm], encoder: Encoder, images: torch.Tensor
) -> None:
    arranged = form(encoder).eval()
    with torch.no_grad():
        for image in images[:8, None]:
            pixels = (image.float() - CENTRE) / SPREAD
            if form is OnnxForm:
                pixels = arranged.body.fold(pixels).permute(0, 3, 1, 2)
            assert (arranged(pixels) - encoder(image)).abs().max() < 1e-4


def test_the_int8_file_takes_pictures_and_gives_nearly_the_same_latents(
    encoder: Encoder, images: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.onnx"
    quantize_encoder(encoder, path, images.numpy())
    assert list(tmp_path.iterdir()) == [path]
    model = OnnxModel(path)
    given = np.concatenate([model.run(image[None])[0] for image in images.numpy()])
    with torch.no_grad():
        wanted = encoder(images).numpy()
    assert given.shape == wanted.shape
    assert np.abs(given - wanted).mean() < 0.05


def test_the_backbone_and_the_wide_layers_are_int8(
    encoder: Encoder, images: torch.Tensor, tmp_path: Path
) -> None:
    path = tmp_path / "encoder.onnx"
    quantize_encoder(encoder, path, images.numpy())
    graph = onnx.load(str(path)).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    read = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "DequantizeLinear"}
    kernels = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    assert len(kernels) == 9 + 3
    for node in kernels:
        assert stored[read[node.input[1]]].dtype == np.int8
        assert stored[read[node.input[2]]].dtype == np.int32
    # Padding is the convolutions' own, and a ReLU the storage's.
    assert not {"Pad", "Relu"} & {node.op_type for node in graph.node}


def test_no_pair_of_products_overflows_16_bits() -> None:
    rng = np.random.default_rng(2)
    for weights in (
        rng.standard_t(2, (16, 12, 7, 2)).astype(np.float32),
        rng.standard_t(2, (16, 33)).astype(np.float32),
    ):
        scales = safe_scales(weights).reshape(-1, *[1] * (weights.ndim - 1))
        stored = np.rint(weights / scales)
        assert np.abs(stored).max() <= 127
        for order in (stored, np.moveaxis(stored, 1, -1)):
            flat = order.reshape(16, -1).astype(int)
            flat = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
            for sign in (1, -1):
                pairs = np.maximum(sign * flat, 0).reshape(16, -1, 2).sum(2)
                assert 255 * pairs.max() <= 32767


def test_outputs_without_weights_keep_their_bias(tmp_path: Path, images: torch.Tensor) -> None:
    torch.manual_seed(3)
    encoder = Encoder(SHAPE).eval()
    with torch.no_grad():
        for layer in (encoder.globals_in, encoder.cells_in.linear, encoder.cells_mid.linear):
            layer.weight.zero_()
        encoder.globals_in.bias.fill_(0.5)
        encoder.cells_mid.bias.fill_(0.5)
        quantize_encoder(encoder, tmp_path / "encoder.onnx", images.numpy())
        (given,) = OnnxModel(tmp_path / "encoder.onnx").run(images[:1].numpy())
        assert np.abs(given - encoder(images[:1]).numpy()).max() < 0.02


@pytest.mark.parametrize("low,high", [(-3.0, 5.0), (0.5, 2.0), (-2.0, -1.0), (0.0, 0.0)])
def test_a_range_covers_its_ends_and_holds_0_exactly(low: float, high: float) -> None:
    found = Range.of(low, high)
    assert 0 <= found.zero <= 255
    assert found.scale * (0 - found.zero) <= min(low, 0) + found.scale
    assert found.scale * (255 - found.zero) >= max(high, 0) - found.scale

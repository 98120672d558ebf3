"""Static int8 for ONNX: QuantizeLinear and DequantizeLinear around what has an int8 kernel.

onnxruntime's own quantizer cannot give a Gemm a bias for each row, rounds the latent before the
levels do, and keeps only 7 bits of weight where x86 cores without VNNI would saturate. The
format is its QDQ format, which onnxruntime fuses into int8 kernels when it loads the model.

Quantized are convolutions, products with a constant matrix, sums of two int8 tensors, and what
only moves values. The rest, the small last layer of an encoder, stays float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aiflow.training.deploy import GROUP

MOVES = {"Reshape", "Transpose", "Split"}
RECTIFIERS = {"Relu", "Clip"}


@dataclass(frozen=True, slots=True)
class Range:
    """Of a tensor stored as uint8: value = scale * (stored - zero)."""

    scale: float
    zero: int

    @classmethod
    def of(cls, low: float, high: float) -> Range:
        """Cover [low, high], and 0 exactly: it is what convolutions pad with."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = max(high - low, 1e-6) / 255
        return cls(scale, round(-low / scale))


def quantize(
    model: onnx.ModelProto, entry: Range, samples: Sequence[NDArray[np.float32]]
) -> onnx.ModelProto:
    """Return the int8 model of a float model that has one input, stored as `entry` says.

    `samples` are inputs of the calibration split; ranges are chosen for the values they give.
    The new model takes the stored form of the input.
    """
    (source,) = model.graph.input
    constants = _take_constants(model)
    _merge_padding(model, constants)
    nodes = list(model.graph.node)
    stored = _plan(nodes, constants, source.name)
    chosen = {name for name in stored.values() if name != source.name}
    ranges = {source.name: entry} | _observe(model, constants, sorted(chosen), samples)
    writer = _Writer(constants, {name: ranges[origin] for name, origin in stored.items()})
    writer.write(nodes, source.name)
    return _model(writer, model)


def safe_scales(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale of each output's int8 weights: (N, K) or (N, I, height, width) -> (N,).

    x86 without VNNI adds pairs of uint8 x int8 products in 16 bits, which hold 255 * 128. So the
    weights of a pair, in the orders of inputs that kernels use, must not sum to more.
    """
    limit = np.abs(weights).reshape(len(weights), -1).max(1) / 127
    orders = [weights, np.moveaxis(weights, 1, -1)]
    for flat in (order.reshape(len(weights), -1) for order in orders):
        even = np.pad(flat, ((0, 0), (0, flat.shape[1] % 2)))
        pairs = even.reshape(len(weights), -1, 2)
        for sign in (1, -1):
            # 127 and not 128: both weights of a pair may be rounded up.
            sums = np.maximum(sign * pairs, 0).sum(2).max(1)
            limit = np.maximum(limit, sums / 127)
    scales: NDArray[np.float32] = np.maximum(limit, 1e-9).astype(np.float32)
    return scales


def _take_constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Initializers and the values of Constant nodes, which are removed."""
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        (value,) = (a.t for a in node.attribute if a.name == "value")
        constants[node.output[0]] = numpy_helper.to_array(value)
        graph.node.remove(node)
    return constants


def _merge_padding(model: onnx.ModelProto, constants: dict[str, NDArray[Any]]) -> None:
    """Let convolutions pad by themselves: an int8 Pad would copy its whole tensor."""
    for pad in [node for node in model.graph.node if node.op_type == "Pad"]:
        (conv,) = _readers(list(model.graph.node), pad.output[0])
        amounts = constants[pad.input[1]].reshape(2, -1)[:, 2:].ravel()
        (own,) = (a for a in conv.attribute if a.name == "pads")
        own.ints[:] = [int(a + b) for a, b in zip(own.ints, amounts, strict=True)]
        conv.input[0] = pad.input[0]
        model.graph.node.remove(pad)


def _readers(nodes: list[onnx.NodeProto], name: str) -> list[onnx.NodeProto]:
    return [node for node in nodes if name in node.input]


def _has_kernel(
    node: onnx.NodeProto, constants: dict[str, NDArray[Any]], stored: dict[str, str]
) -> bool:
    if node.input[0] not in stored:
        return False
    if node.op_type == "MatMul":
        return np.ndim(constants.get(node.input[1], 0)) == 2
    return node.op_type in {"Conv", "Gemm"} or (
        node.op_type == "Add" and all(name in stored for name in node.input)
    )


def _plan(
    nodes: list[onnx.NodeProto], constants: dict[str, NDArray[Any]], source: str
) -> dict[str, str]:
    """Tensors that are stored in int8, each with the tensor whose range it has."""
    stored = {source: source}
    for node in nodes:
        if node.op_type in MOVES and node.input[0] in stored:
            stored |= dict.fromkeys(node.output, stored[node.input[0]])
        elif _has_kernel(node, constants, stored):
            readers = _readers(nodes, node.output[0])
            # A ReLU is a part of what it follows: the range begins at 0. So is a ReLU6, which
            # exporters write as a Clip: its range ends at 6, or where no value has come.
            alone = len(readers) == 1 and readers[0].op_type in RECTIFIERS
            result = readers[0].output[0] if alone else node.output[0]
            stored[result] = result
    return stored


def _observe(
    model: onnx.ModelProto,
    constants: dict[str, NDArray[Any]],
    names: list[str],
    samples: Sequence[NDArray[np.float32]],
) -> dict[str, Range]:
    """Run the float model and take the range of each named tensor."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.initializer[:]
    probe.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    del probe.graph.output[:]
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        probe.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (source,) = (node.name for node in session.get_inputs())
    lows, highs = [], []
    for sample in samples:
        values = session.run(names, {source: sample})
        lows.append([value.min() for value in values])
        highs.append([value.max() for value in values])
    ends = _typical(np.array(lows), np.min), _typical(np.array(highs), np.max)
    return {name: Range.of(*pair) for name, *pair in zip(names, *ends, strict=True)}


def _typical(
    values: NDArray[np.float32], extreme: Callable[..., NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the mean, over groups of GROUP rows, of the group's extreme value."""
    groups = np.array_split(values, max(1, len(values) // GROUP))
    means: NDArray[np.float32] = np.stack([extreme(group, axis=0) for group in groups]).mean(0)
    return means


class _Writer:
    """Writes the nodes of the int8 graph and its constants."""

    def __init__(self, constants: dict[str, NDArray[Any]], ranges: dict[str, Range]) -> None:
        self.constants = dict(constants)
        self.ranges = ranges
        self.nodes: list[onnx.NodeProto] = []

    def write(self, nodes: list[onnx.NodeProto], source: str) -> None:
        self._read(source, source)
        for node in nodes:
            kernel = _has_kernel(node, self.constants, dict.fromkeys(self.ranges, ""))
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [f"{name}.read" if name in self.ranges else name for name in node.input]
            if node.op_type in RECTIFIERS and node.output[0] in self.ranges:
                # Stored without room below 0, the values are cut by their storage.
                self._store(node.input[0], node.output[0])
                continue
            if kernel and node.op_type != "Add":
                self._weights(copy, node.input[0])
            self.nodes.append(copy)
            for name in (name for name in node.output if name in self.ranges):
                self._store(name, name)

    def _weights(self, node: onnx.NodeProto, activation: str) -> None:
        """Store weights as int8 with a scale for each output, and the bias as int32."""
        last = node.op_type == "MatMul" or (
            node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
        )
        value = self.constants[node.input[1]]
        rows = value.T if last else value
        scales = safe_scales(rows)
        step = np.float32(self.ranges[activation].scale)
        bias = self.constants[node.input[2]] if len(node.input) > 2 else np.zeros(1, np.float32)
        # The weights of an output that is nothing but its bias give no scale to store it with.
        largest = np.abs(bias).max(axis=0) if bias.ndim == 2 else np.abs(bias)
        scales = np.maximum(scales, largest / step / np.float32(1 << 30))
        column = scales.reshape(-1, *[1] * (rows.ndim - 1))
        stored = np.clip(np.rint(rows / column), -127, 127).astype(np.int8)
        stored = stored.T if last else stored
        # Named after the node: constants that are one in the float graph may differ here.
        axis = stored.ndim - 1 if last else 0
        node.input[1] = self._constant(f"{node.name}.weight", stored, scales, axis)
        if len(node.input) > 2:
            whole = np.rint(bias / (scales * step)).astype(np.int32)
            node.input[2] = self._constant(
                f"{node.name}.bias", whole, scales * step, whole.ndim - 1
            )

    def _constant(
        self, name: str, stored: NDArray[Any], scales: NDArray[np.float32], axis: int
    ) -> str:
        """Add a stored constant and the node that reads it; returns the name to use."""
        self.constants[f"{name}.stored"] = stored
        self.constants[f"{name}.scale"] = scales.astype(np.float32)
        self.constants[f"{name}.zero"] = np.zeros(scales.shape, stored.dtype)
        inputs = [f"{name}.{part}" for part in ("stored", "scale", "zero")]
        return self._node("DequantizeLinear", inputs, f"{name}.read", axis=axis)

    def _store(self, value: str, name: str) -> None:
        self._node("QuantizeLinear", [value, *self._range(name)], f"{name}.stored")
        self._read(name, f"{name}.stored")

    def _read(self, name: str, stored: str) -> None:
        self._node("DequantizeLinear", [stored, *self._range(name)], f"{name}.read")

    def _range(self, name: str) -> list[str]:
        found = self.ranges[name]
        self.constants[f"{name}.scale"] = np.array(found.scale, np.float32)
        self.constants[f"{name}.zero"] = np.array(found.zero, np.uint8)
        return [f"{name}.scale", f"{name}.zero"]

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output


def _model(writer: _Writer, model: onnx.ModelProto) -> onnx.ModelProto:
    graph = model.graph
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(writer.nodes)
    used = {name for node in writer.nodes for name in node.input}
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, order="C"), name)
        for name, value in writer.constants.items()
        if name in used
    )
    graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    onnx.checker.check_model(model)
    return model

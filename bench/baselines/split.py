"""The bundle's float encoder, cut in the middle: what feature codecs carry lies at the cuts.

    image -> [convolutions] -> feature map -> [pooling] -> pooled -> [heads] -> latent -> symbols

A cut is a tensor through which every path from the image to the latent leads. The feature map is
the last cut with rows and columns, pooled the last one that is larger than the latent. Nothing is
assumed of names in the graph.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal, Self

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle
from aiflow.common.errors import BundleInvalid
from aiflow.common.runtime import OnnxModel

Cut = Literal["map", "pooled"]

_IMAGE: Final = "image"
_LATENT: Final = "latent"


class FloatEncoder:
    """The parts of the float encoder, each on one thread; any number of threads may call."""

    def __init__(self, path: Path, input_size: tuple[int, int], levels: tuple[int, ...]) -> None:
        """`input_size` is (width, height). Raises BundleInvalid for a graph that cannot be cut."""
        self.input_size = input_size
        self._top = np.array(levels, np.float32) - 1
        model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
        shapes = _cut_shapes(model, self.input_size)
        latent = shapes.pop(_LATENT)
        maps = [name for name, shape in shapes.items() if len(shape) == 4 and min(shape[2:]) > 1]
        pools = [name for name, shape in shapes.items() if np.prod(shape) > np.prod(latent)]
        if not maps or not pools or pools[-1] == maps[-1]:
            raise BundleInvalid(f"{path} has no feature map to cut at")
        with tempfile.TemporaryDirectory(prefix="aiflow-split-") as folder:
            parts = [
                _part(model, names, Path(folder) / f"part{number}.onnx")
                for number, names in enumerate(pairwise((_IMAGE, maps[-1], pools[-1], _LATENT)))
            ]
        self._backbone, self._pooling, self._heads = parts
        self._pooled_shape = shapes[pools[-1]]

    @classmethod
    def load(cls, bundle: Bundle) -> Self:
        """Raises BundleInvalid when the bundle has no float encoder."""
        return cls(bundle.file("encoder_float"), bundle.input_size, bundle.levels)

    def features(self, image: NDArray[np.uint8]) -> dict[Cut, NDArray[np.float32]]:
        """What lies at the cuts for a BGR picture of any size: (rows, columns, C) each.

        Pooled features are one row of slots.
        """
        (found,) = self._backbone.run(np.ascontiguousarray(self._fitted(image)[None]))
        (pooled,) = self._pooling.run(found)
        return {
            "map": np.ascontiguousarray(found[0].transpose(1, 2, 0)),
            "pooled": pooled.reshape(1, -1, pooled.shape[-1]),
        }

    def finish(self, features: NDArray[np.float32], cut: Cut = "map") -> NDArray[np.uint8]:
        """From features at a cut (rows, columns, C) to the symbols (K, D)."""
        return self._rounded(self.latent(features, cut))

    def latent(self, features: NDArray[np.float32], cut: Cut = "map") -> NDArray[np.float32]:
        """From features at a cut (rows, columns, C) to the latent (K, D)."""
        if cut == "map":
            (pooled,) = self._pooling.run(np.ascontiguousarray(features.transpose(2, 0, 1)[None]))
        else:
            pooled = features.reshape(self._pooled_shape)
        (latent,) = self._heads.run(pooled)
        return np.asarray(latent[0], np.float32)

    def see(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """From a picture of any size to the symbols (K, D)."""
        (found,) = self._backbone.run(np.ascontiguousarray(self._fitted(image)[None]))
        (pooled,) = self._pooling.run(found)
        (latent,) = self._heads.run(pooled)
        return self._rounded(latent[0])

    def _rounded(self, latent: NDArray[np.float32]) -> NDArray[np.uint8]:
        """As a device does it."""
        return np.clip(np.rint(latent + self._top / 2), 0, self._top).astype(np.uint8)

    def _fitted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """In the encoder's size; a smaller picture is enlarged smoothly."""
        if image.shape[1::-1] == self.input_size:
            return image
        smaller = image.shape[1] < self.input_size[0]
        how = cv2.INTER_CUBIC if smaller else cv2.INTER_AREA
        return np.asarray(cv2.resize(image, self.input_size, interpolation=how), np.uint8)


def _cut_shapes(model: onnx.ModelProto, input_size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Shape of each cut for one picture, in order; the latent is the last."""
    names = _cuts(model.graph)
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    width, height = input_size
    with tempfile.TemporaryDirectory(prefix="aiflow-split-") as folder:
        path = Path(folder) / "probe.onnx"
        onnx.save(probe, str(path))
        values = OnnxModel(path).run(np.zeros((1, height, width, 3), np.uint8))
    return {name: value.shape for name, value in zip(names, values, strict=True)}


def _cuts(graph: onnx.GraphProto) -> list[str]:
    """Tensors through which all paths from the image to the latent lead, in order.

    Walks the nodes, which an ONNX graph lists in an order fit for computing, and keeps the set of
    tensors that hold something of the image and are still needed: when it is one, that is a cut.
    """
    last_use = {name: at for at, node in enumerate(graph.node) for name in node.input}
    alive = {_IMAGE}
    cuts: list[str] = []
    for at, node in enumerate(graph.node):
        depends = node.op_type != "Shape" and not alive.isdisjoint(node.input)
        if depends:
            alive.update(name for name in node.output if name in last_use or name == _LATENT)
        alive = {name for name in alive if last_use.get(name, at + 1) > at}
        if depends and len(alive) == 1:
            cuts += alive
    if not cuts or cuts[-1] != _LATENT:
        raise BundleInvalid(f"the float encoder does not lead from {_IMAGE!r} to {_LATENT!r}")
    return list(dict.fromkeys(cuts))


def _part(model: onnx.ModelProto, names: tuple[str, str], path: Path) -> OnnxModel:
    """The part of the graph between two tensors, as a model of its own."""
    source, target = names
    extracted = onnx.utils.Extractor(model).extract_model([source], [target])
    onnx.save(extracted, str(path))
    return OnnxModel(path)

"""Inference runtimes behind one `Model`: onnxruntime, and LiteRT (or tflite-runtime).

Imports of the runtimes are lazy: a device that runs one never loads the other. Nothing here
needs more than numpy and the runtime itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import RuntimeUnavailable

if TYPE_CHECKING:
    from aiflow.common.bundle import Bundle

RUNTIMES = ("onnx", "litert")
CPU: Final = "CPUExecutionProvider"
"""The execution provider that every onnxruntime has."""
PROVIDERS: Final[Mapping[str, tuple[str, ...]]] = {
    "cpu": (CPU,),
    "cuda": ("CUDAExecutionProvider", CPU),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", CPU),
}
"""By the words of a configuration: what computes, and what takes over what it cannot."""


class Model(Protocol):
    """Arrays in, arrays out, in the order of the model's own inputs and outputs."""

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]: ...


class OnnxModel:
    """A model under onnxruntime; `providers` are its execution providers, best first."""

    def __init__(self, path: Path, *, threads: int = 1, providers: Sequence[str] = (CPU,)) -> None:
        """Raises RuntimeUnavailable, also where one of `providers` cannot be had.

        Left to itself onnxruntime would go on without it, on the CPU, and nobody would know.
        """
        try:
            import onnxruntime as ort  # noqa: PLC0415
        except ImportError as exc:
            raise RuntimeUnavailable(
                "runtime onnx needs onnxruntime (pip install onnxruntime)"
            ) from exc
        _require(providers, ort.get_available_providers(), "has")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Without spinning a waiting thread costs nothing between frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(str(path), options, providers=list(providers))
        except Exception as exc:  # onnxruntime raises a family of its own, without a common base
            raise RuntimeUnavailable(f"onnxruntime refuses {path}: {exc}") from exc
        _require(providers, self._session.get_providers(), "could load")
        self._inputs = [node.name for node in self._session.get_inputs()]

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        outputs: list[NDArray[Any]] = self._session.run(
            None, dict(zip(self._inputs, arrays, strict=True))
        )
        return outputs


class LiteRtModel:
    """Any TFLite model under LiteRT, or tflite-runtime where that is what is installed.

    Callers see the same uint8 pictures and float vectors as under onnxruntime. An int8 picture
    is the uint8 one minus 128, which is what full int8 converters mean by it; float inputs get
    the numbers as they are. Quantized outputs come back as what they stand for.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Raises RuntimeUnavailable."""
        module = _interpreter_module()
        try:
            self._interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as exc:
            raise RuntimeUnavailable(f"LiteRT refuses {path}: {exc}") from exc
        self._inputs = self._interpreter.get_input_details()
        self._outputs = self._interpreter.get_output_details()

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], _to_tensor(array, detail))
        self._interpreter.invoke()
        return [
            _from_tensor(self._interpreter.get_tensor(detail["index"]), detail)
            for detail in self._outputs
        ]


def load_encoder(
    bundle: Bundle,
    runtime: str = "onnx",
    threads: int = 1,
    provider: str = "cpu",
) -> Model:
    """Load the bundle's encoder: image uint8 (1, H, W, 3) BGR -> latent float32 (1, K, D)."""
    if runtime == "onnx":
        path = bundle.file("encoder_onnx")
        return OnnxModel(path, threads=threads, providers=PROVIDERS[provider])
    if runtime == "litert":
        return LiteRtModel(bundle.file("encoder_tflite"), threads=threads)
    raise RuntimeUnavailable(f"no runtime {runtime!r}; there are {', '.join(RUNTIMES)}")


def _require(wanted: Sequence[str], there: Sequence[str], what: str) -> None:
    """Raises RuntimeUnavailable for the first provider that is wanted and not there."""
    for name in wanted:
        if name not in there:
            raise RuntimeUnavailable(
                f"this onnxruntime {what} {', '.join(there)}, and no {name}; correct `provider`, "
                "or install a build with it and its libraries (docs/boards.md)"
            )


def _interpreter_module() -> ModuleType:
    try:
        from ai_edge_litert import interpreter  # noqa: PLC0415
    except ImportError:
        try:
            from tflite_runtime import interpreter  # noqa: PLC0415
        except ImportError as exc:
            raise RuntimeUnavailable(
                "runtime litert needs ai-edge-litert (pip install 'aiflow-edge[tflite]') "
                "or tflite-runtime"
            ) from exc
    module: ModuleType = interpreter
    return module


def _to_tensor(array: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
    dtype = np.dtype(detail["dtype"])
    if array.dtype == dtype:
        return array
    if array.dtype == np.uint8 and dtype == np.int8:
        # Flipping the upper bit subtracts 128, and copies nothing but the bytes.
        shifted: NDArray[Any] = (array ^ np.uint8(128)).view(np.int8)
        return shifted
    scale, zero = detail["quantization"]
    if scale and array.dtype != np.uint8:
        limits = np.iinfo(dtype)
        stored = np.rint(array.astype(np.float32) / np.float32(scale)) + zero
        array = np.clip(stored, limits.min, limits.max)
    return array.astype(dtype)


def _from_tensor(tensor: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
    scale, zero = detail["quantization"]
    if not scale or not np.issubdtype(tensor.dtype, np.integer):
        return tensor
    real: NDArray[np.float32] = (tensor.astype(np.float32) - np.float32(zero)) * np.float32(scale)
    return real

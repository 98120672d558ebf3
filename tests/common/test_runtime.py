"""The runtimes on small models: tests/training/tflite_models.py made them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle
from aiflow.common.errors import RuntimeUnavailable
from aiflow.common.runtime import PROVIDERS, LiteRtModel, Model, OnnxModel, load_encoder

VECTORS = Path(__file__).parents[1] / "vectors" / "models.npz"
LEVELS = 5


@pytest.fixture
def vectors() -> dict[str, NDArray[Any]]:
    with np.load(VECTORS) as file:
        return dict(file)


@pytest.fixture
def images(vectors: dict[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """Uint8 (8, 32, 32, 3)."""
    blots: NDArray[np.uint8] = vectors["blots"]
    return blots.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture
def folder(vectors: dict[str, NDArray[Any]], tmp_path: Path) -> Path:
    for name in ("encoder.onnx", "encoder.tflite", "vector.tflite"):
        (tmp_path / name).write_bytes(vectors[name.replace(".", "_")].tobytes())
    return tmp_path


def outputs(model: Model, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([model.run(image[None])[0] for image in images])


def symbols(latents: NDArray[np.float32]) -> NDArray[Any]:
    rounded: NDArray[Any] = np.clip(np.rint(latents + (LEVELS - 1) / 2), 0, LEVELS - 1)
    return rounded


def test_an_int8_encoder_runs_under_onnxruntime(
    folder: Path, images: NDArray[np.uint8], vectors: dict[str, NDArray[Any]]
) -> None:
    latents = outputs(OnnxModel(folder / "encoder.onnx"), images)
    assert latents.dtype == np.float32
    assert latents.shape == (8, 6, 4)
    assert np.mean(symbols(latents) == symbols(vectors["latents"])) > 0.95


def test_an_int8_encoder_runs_under_litert(
    folder: Path, images: NDArray[np.uint8], vectors: dict[str, NDArray[Any]]
) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    latents = outputs(LiteRtModel(folder / "encoder.tflite"), images)
    assert latents.dtype == np.float32
    assert latents.shape == (8, 6, 4)
    assert np.mean(symbols(latents) == symbols(vectors["latents"])) > 0.95


def test_somebody_elses_int8_model_gives_its_vector(
    folder: Path, images: NDArray[np.uint8], vectors: dict[str, NDArray[Any]]
) -> None:
    # It was trained on pixels of 0 to 1 and is int8 inside; callers need not know.
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    given = outputs(LiteRtModel(folder / "vector.tflite"), images)
    assert given.dtype == np.float32
    assert given.shape == (8, 12)
    assert np.abs(given - vectors["vectors"]).mean() < 0.02 * np.ptp(vectors["vectors"])


@pytest.mark.parametrize("kind", [OnnxModel, LiteRtModel])
def test_a_file_that_is_no_model_is_refused_by_name(
    kind: type[OnnxModel | LiteRtModel], tmp_path: Path
) -> None:
    if kind is LiteRtModel:
        pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    path = tmp_path / "model"
    path.write_bytes(b"not a model")
    with pytest.raises(RuntimeUnavailable, match=f"refuses {path}: "):
        kind(path)


def test_a_missing_runtime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(RuntimeUnavailable, match="pip install onnxruntime"):
        OnnxModel(Path("encoder.onnx"))
    with pytest.raises(RuntimeUnavailable, match=r"pip install 'aiflow-edge\[tflite\]'"):
        LiteRtModel(Path("encoder.tflite"))


def test_a_provider_that_this_build_lacks_is_refused(folder: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="CPUExecutionProvider, and no CUDAExecutionProv"):
        load_encoder(_bundle(folder), provider="cuda")


def test_a_provider_whose_libraries_are_missing_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        """Goes on without what it cannot load, as onnxruntime does."""

        def __init__(self, _path: str, _options: object, providers: list[str]) -> None:
            assert providers[:2] == ["TensorrtExecutionProvider", "CUDAExecutionProvider"]

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: PROVIDERS["tensorrt"])
    monkeypatch.setattr("onnxruntime.InferenceSession", Session)
    with pytest.raises(RuntimeUnavailable, match=r"could load CUDA.*, and no TensorrtExecution"):
        load_encoder(_bundle(folder), provider="tensorrt")


def test_an_unknown_runtime_is_named(folder: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="no runtime 'tensorrt'; there are onnx, litert"):
        load_encoder(_bundle(folder), "tensorrt")


def test_the_bundle_says_which_file_a_runtime_loads(folder: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")
    assert isinstance(load_encoder(_bundle(folder), "onnx"), OnnxModel)
    assert isinstance(load_encoder(_bundle(folder), "litert"), LiteRtModel)


class FakeInterpreter:
    """One input and one output of given types; gives back what it got."""

    def __init__(self, stored: type, scale: float = 0.0, zero: int = 0) -> None:
        self.detail = {"index": 7, "dtype": stored, "quantization": (scale, zero)}
        self.tensor: NDArray[Any] = np.zeros(0, stored)

    def __call__(self, model_path: str, num_threads: int) -> FakeInterpreter:
        return self

    def allocate_tensors(self) -> None:
        pass

    def invoke(self) -> None:
        pass

    def get_input_details(self) -> list[dict[str, Any]]:
        return [self.detail]

    get_output_details = get_input_details

    def set_tensor(self, index: int, tensor: NDArray[Any]) -> None:
        assert (index, tensor.dtype) == (7, self.detail["dtype"])
        self.tensor = tensor

    def get_tensor(self, index: int) -> NDArray[Any]:
        return self.tensor


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load a fake model as if tflite-runtime were all that is installed."""

    def loaded(interpreter: FakeInterpreter) -> LiteRtModel:
        package, module = ModuleType("tflite_runtime"), ModuleType("tflite_runtime.interpreter")
        package.interpreter = module  # type: ignore[attr-defined]
        module.Interpreter = interpreter  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
        monkeypatch.setitem(sys.modules, "tflite_runtime", package)
        monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", module)
        return LiteRtModel(Path("model.tflite"))

    return loaded


PIXELS = np.array([0, 1, 127, 128, 255], np.uint8)


@pytest.mark.parametrize(
    "scale,zero", [(1.0, -128), (1 / 255, -128), (1 / 127.5, 0), (1 / 64, 0), (0.0, 0)]
)
def test_an_int8_picture_is_the_uint8_one_minus_128(load: Any, scale: float, zero: int) -> None:
    interpreter = FakeInterpreter(np.int8, scale, zero)
    load(interpreter).run(PIXELS)
    assert interpreter.tensor.tolist() == [-128, -127, -1, 0, 127]


@pytest.mark.parametrize("stored", [np.uint8, np.float32])
def test_other_pictures_go_in_as_they_are(load: Any, stored: type) -> None:
    interpreter = FakeInterpreter(stored)
    load(interpreter).run(PIXELS)
    assert interpreter.tensor.tolist() == PIXELS.tolist()


def test_other_quantized_values_go_in_and_come_out_by_scale_and_zero_point(load: Any) -> None:
    interpreter = FakeInterpreter(np.int8, 0.5, 10)
    (back,) = load(interpreter).run(np.array([-100, -1, 0, 0.3, 20, 100], np.float32))
    assert interpreter.tensor.tolist() == [-128, 8, 10, 11, 50, 127]
    assert back.tolist() == [-69, -1, 0, 0.5, 20, 58.5]
    assert back.dtype == np.float32


def test_nothing_but_numpy_is_needed_before_a_model_is_loaded() -> None:
    code = "import sys, aiflow.common.runtime; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "numpy" in loaded
    assert not loaded & {"pydantic", "cv2", "onnxruntime", "ai_edge_litert", "tflite_runtime"}


def _bundle(folder: Path) -> Bundle:
    """No manifest file: only what load_encoder asks of a bundle."""
    bundle = object.__new__(Bundle)
    bundle.file = lambda role: folder / f"encoder.{role.removeprefix('encoder_')}"  # type: ignore[method-assign]
    return bundle

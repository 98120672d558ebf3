"""tflite-runtime 2.14.0, the last one: it needs numpy < 2 and Python 3.11, so an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle
from aiflow.common.errors import RuntimeUnavailable
from aiflow.common.runtime import OnnxModel
from aiflow.street.animation import Street
from aiflow.training.environment import package_path, ready

ROOT = Path(__file__).resolve().parents[2]
LEVELS = 5
RUN = """
import sys
from pathlib import Path
import numpy as np
from aiflow.common.runtime import LiteRtModel
model = LiteRtModel(Path(sys.argv[1]))
images = np.load(sys.argv[2])
np.save(sys.argv[3], np.concatenate([model.run(image[None])[0] for image in images]))
print(sorted(name for name in sys.modules if name in ("ai_edge_litert", "tflite_runtime")))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    found = sys.executable if sys.version_info[:2] == (3, 11) else shutil.which("python3.11")
    if found is None:
        pytest.skip("tflite-runtime 2.14.0 needs Python 3.11, which is not here")
    try:
        return ready(
            ROOT / "build" / "tflite-runtime-venv", ["tflite-runtime==2.14.0", "numpy<2"], found
        )
    except RuntimeUnavailable as exc:
        pytest.skip(f"tflite-runtime 2.14.0 cannot be installed: {exc}")


def run(python: Path, model: Path, images: NDArray[np.uint8], folder: Path) -> NDArray[np.float32]:
    source, target = folder / "images.npy", folder / "given.npy"
    np.save(source, images)
    with package_path() as path:
        done = subprocess.run(
            [python, "-P", "-c", RUN, model, source, target],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['tflite_runtime']"
    given: NDArray[np.float32] = np.load(target)
    return given


def symbols(latents: NDArray[np.float32]) -> NDArray[Any]:
    rounded: NDArray[Any] = np.clip(np.rint(latents + (LEVELS - 1) / 2), 0, LEVELS - 1)
    return rounded


@pytest.mark.timeout(300)
def test_small_models_run(python: Path, tmp_path: Path) -> None:
    with np.load(ROOT / "tests" / "vectors" / "models.npz") as file:
        vectors = dict(file)
    images = vectors["blots"].repeat(8, axis=1).repeat(8, axis=2)
    for name in ("encoder", "vector"):
        (tmp_path / name).write_bytes(vectors[f"{name}_tflite"].tobytes())
    latents = run(python, tmp_path / "encoder", images, tmp_path)
    assert np.mean(symbols(latents) == symbols(vectors["latents"])) > 0.95
    given = run(python, tmp_path / "vector", images, tmp_path)
    assert np.abs(given - vectors["vectors"]).mean() < 0.02 * np.ptp(vectors["vectors"])


@pytest.mark.timeout(300)
def test_the_built_in_encoder_runs(python: Path, tmp_path: Path) -> None:
    bundle = Bundle.open("street")
    if not {"encoder_tflite", "encoder_float"} <= set(bundle.manifest.roles):
        pytest.skip("the built-in bundle was made without TFLite")
    street = Street(11)
    frames = [street.frame(second * 5.0, (320, 240)).image for second in range(24)]
    images: NDArray[Any] = np.stack(
        [cv2.resize(f, bundle.input_size, interpolation=cv2.INTER_AREA) for f in frames]
    )
    model = OnnxModel(bundle.file("encoder_float"))
    wanted = symbols(np.concatenate([model.run(image[None])[0] for image in images]))
    given = symbols(run(python, bundle.file("encoder_tflite"), images, tmp_path))
    assert np.mean(given == wanted) > 0.97

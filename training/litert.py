"""Conversion to TFLite, by tools that live in an environment of their own: see litert.txt."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from aiflow.common.errors import RuntimeUnavailable
from aiflow.training.environment import package_path, ready, requirements


def convert(environment: Path, encoder: Path, images: Path, target: Path) -> None:
    """Write `target`, the int8 form of a state dict; `images` is a .npy of calibration pictures.

    The environment is made when missing. What the tools said is left beside `encoder`, in
    tflite.log. Raises RuntimeUnavailable if there is no environment or no result.
    """
    python = ready(environment, requirements("litert.txt"))
    spoken = encoder.with_name("tflite.log")
    with package_path() as path, spoken.open("wb") as output:
        result = subprocess.run(
            [python, "-P", "-m", "aiflow.training.tflite", encoder, images, target],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if result.returncode:
        raise RuntimeUnavailable(f"the conversion to TFLite failed; its words are in {spoken}")

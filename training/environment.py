"""Environments of their own, for tools that cannot be installed beside the rest."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from aiflow.common.errors import RuntimeUnavailable

log = logging.getLogger(__name__)

INSTALL_TIMEOUT_S = 1800
_STAMP = "aiflow-stamp"


def ready(folder: Path, requirements: Sequence[str], python: str = sys.executable) -> Path:
    """Return the interpreter of an environment with these packages, made when missing.

    Raises RuntimeUnavailable if it cannot be made, with pip's last words.
    """
    program = folder / "bin" / "python"
    wanted = hashlib.sha256("\n".join([python, *requirements]).encode()).hexdigest()
    stamp = folder / _STAMP
    if program.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return program
    log.info("making the environment %s; this takes a few minutes, once", folder)
    pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "--retries", "2"]
    _run([python, "-m", "venv", "--clear", str(folder)], folder)
    _run([str(program), *pip, "install", *requirements], folder)
    stamp.write_text(wanted, encoding="utf-8")
    return program


def requirements(name: str) -> list[str]:
    """Read the packages that a file of this folder names. Raises RuntimeUnavailable."""
    path = Path(str(files("aiflow.training"))) / name
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as exc:
        raise RuntimeUnavailable(f"{path} cannot be read: {exc.strerror}") from exc
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@contextmanager
def package_path() -> Iterator[str]:
    """Give a value of PYTHONPATH that offers `aiflow`, and nothing else that is installed here."""
    with tempfile.TemporaryDirectory(prefix="aiflow-") as folder:
        (Path(folder) / "aiflow").symlink_to(Path(str(files("aiflow"))).resolve())
        yield folder


def _run(command: list[str], folder: Path) -> None:
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise RuntimeUnavailable(f"the environment {folder} cannot be made: {exc}") from exc
    if result.returncode:
        words = result.stdout.strip().splitlines() or [f"exit status {result.returncode}"]
        raise RuntimeUnavailable(f"the environment {folder} cannot be made: {words[-1]}")

"""What every recipe's run has: a folder, stages that are done once, and their times.

A stage leaves its result and `<name>.seconds` in the folder; what is there is not made again, so
an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

log = logging.getLogger(__name__)


class Stages:
    """The folder of one run, and its bundle in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        self.bundle.mkdir(parents=True, exist_ok=True)

    def stage(self, name: str, work: Callable[[], None]) -> None:
        """Run a stage unless it is done; remember how long it took."""
        done = self.folder / f"{name}.seconds"
        if done.exists():
            log.info("%s: done before", name)
            return
        began = time.monotonic()
        work()
        done.write_text(f"{time.monotonic() - began:.1f}\n", encoding="utf-8")
        log.info("%s: %s s", name, done.read_text(encoding="utf-8").strip())

    def seconds(self) -> dict[str, int]:
        """How long each stage took, of those that are done."""
        return {
            path.stem: round(float(path.read_text(encoding="utf-8")))
            for path in sorted(self.folder.glob("*.seconds"))
        }

    def write_json(self, name: str, value: Any) -> None:
        (self.folder / name).write_text(json.dumps(value) + "\n", encoding="utf-8")


def set_up_torch(threads: int) -> None:
    """Make results repeatable, and slow denormal numbers impossible."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.set_flush_denormal(True)


def parameters(module: torch.nn.Module) -> int:
    """How many numbers a module has learned."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(encoder: torch.nn.Module, width: int, height: int) -> int:
    """Multiply-accumulates of one picture, counted at convolutions and linear layers."""
    total = 0

    def count(module: Any, _inputs: Any, output: Any) -> None:
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    hooks = [m.register_forward_hook(count) for m in encoder.modules() if isinstance(m, kinds)]
    with torch.no_grad():
        encoder(torch.zeros(1, height, width, 3, dtype=torch.uint8))
    for hook in hooks:
        hook.remove()
    return total


def commit() -> str:
    """The commit that holds the code and the recipe; marked when the tree differs from it."""
    head = _git("rev-parse", "HEAD")
    if not head:
        return "unknown"
    return f"{head}-dirty" if _git("status", "--porcelain") else head


def _git(*arguments: str) -> str:
    here = Path(__file__).parent
    command = ["git", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here)
    return result.stdout.strip()

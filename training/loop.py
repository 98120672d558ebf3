"""One training loop for every stage: schedule, clipping, progress, checkpoints to resume from."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from aiflow.training.progress import Bar

CHECKPOINT_EVERY: Final = 150
LOG_EVERY: Final = 50
WARM_UP: Final = 150
"""Steps, or a quarter of them all."""
FLOOR: Final = 0.05
"""Share of the learning rate that is left at the end."""

LossOf = Callable[[int, np.random.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class Part:
    """Some modules' parameters and their largest learning rate."""

    parameters: Sequence[nn.Parameter]
    learning_rate: float


def train(
    path: Path,
    steps: int,
    seed: int,
    modules: Mapping[str, nn.Module],
    parts: Sequence[Part],
    loss_of: LossOf,
) -> list[dict[str, float]]:
    """Take `steps` steps of AdamW on what `loss_of` gives; returns the loss now and then.

    `loss_of` gets the step and a generator of its own for it, so that a run that was interrupted
    goes on as it would have. `path` holds the checkpoint, with the state of all `modules`.
    """
    groups = [{"params": list(part.parameters), "lr": part.learning_rate} for part in parts]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02, betas=(0.9, 0.98))
    trained = [parameter for part in parts for parameter in part.parameters]
    first, history = _resume(path, modules, optimizer)
    with Bar(path.name.split(".")[0], steps, start=first) as bar:
        for step in range(first, steps):
            share = schedule(step, steps)
            for group, part in zip(optimizer.param_groups, parts, strict=True):
                group["lr"] = share * part.learning_rate
            torch.manual_seed(seed * 1_000_003 + step)
            loss = loss_of(step, np.random.default_rng((seed, step)))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            if step % LOG_EVERY == 0:
                history.append({"step": step, "loss": round(loss.item(), 4)})
            bar.show(step + 1, f"loss {loss.item():.3f}")
            if (step + 1) % CHECKPOINT_EVERY == 0 or step + 1 == steps:
                _save(path, modules, optimizer, step + 1, history)
    return history


def schedule(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to `FLOOR`."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    warm_up = max(1, min(WARM_UP, steps // 4))
    return min(1.0, (step + 1) / warm_up) * (FLOOR + (1 - FLOOR) * cosine)


def _resume(
    path: Path, modules: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]]]:
    if not path.exists():
        return 0, []
    state: dict[str, Any] = torch.load(path, weights_only=False)
    for name, module in modules.items():
        module.load_state_dict(state["modules"][name])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["history"]


def _save(
    path: Path,
    modules: Mapping[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    step: int,
    history: list[dict[str, float]],
) -> None:
    partial = path.with_suffix(".partial")
    states = {name: module.state_dict() for name, module in modules.items()}
    content = {"modules": states, "optimizer": optimizer.state_dict()}
    torch.save({**content, "step": step, "history": history}, partial)
    partial.rename(path)

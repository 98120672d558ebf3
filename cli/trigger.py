"""`aiflow trigger learn`: the next frames of a camera as an example for a trigger."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from aiflow.cli import private_files
from aiflow.cli.logs import Level, configure
from aiflow.client import Embedding, Embeddings
from aiflow.common.bundle import built_in
from aiflow.common.config import load
from aiflow.common.errors import CameraError, ConfigError
from aiflow.edge.config import EdgeConfig, read_key, trigger_name
from aiflow.edge.examples import Example, example_path


@dataclass(frozen=True, slots=True)
class LearnOptions:
    """What to learn, from which camera (`device/camera`), and for how long to wait."""

    name: str
    camera: str
    config: Path | None
    frames: int
    timeout_s: float


def learn(options: LearnOptions) -> None:
    """Wait for frames and write them down. Raises AiflowError."""
    configure(Level.ERROR)  # why it cannot connect is told by the error itself
    try:
        name = trigger_name(options.name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    device, slash, camera = options.camera.partition("/")
    if not slash:
        raise ConfigError(f"camera {options.camera!r} is not device/camera")
    config = load(EdgeConfig, options.config)
    path = example_path(config, name)
    print(f"waiting for frames of {options.camera}: show what is to be found", flush=True)
    seen = _frames(config, device, camera, options)
    example = Example(
        bundle=seen[0].bundle,
        device=device,
        camera=camera,
        learned=round(time.time(), 3),
        levels=seen[0].levels,
        frames=tuple(tuple(map(tuple, one.symbols.tolist())) for one in seen),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent} cannot be made: {error.strerror}") from error
    private_files.replace(path, example.to_json() + b"\n", private_files.SECRET)
    print(f"learned {name} from {len(seen)} frames: {path}")


def _frames(config: EdgeConfig, device: str, camera: str, options: LearnOptions) -> list[Embedding]:
    """The next ones, each as far as it came; fewer than wanted if time is up."""
    keys = {name: read_key(name, path) for name, path in config.device_keys.items()}
    seen: dict[tuple[int, int], Embedding] = {}
    deadline = time.monotonic() + options.timeout_s
    bundles = built_in() if config.bundle is None else [config.bundle]
    with Embeddings(
        config.broker, bundles=bundles, device=device, camera=camera, keys=keys
    ) as embeddings:
        while len(seen) < options.frames:
            one = embeddings.next(max(deadline - time.monotonic(), 0.0))
            if one is None:
                break
            if seen and one.bundle != next(iter(seen.values())).bundle:
                seen.clear()  # its device has begun anew with another bundle
            seen[one.epoch_ms, one.sequence] = one
        skipped = ", ".join(f"{count} {why}" for why, count in embeddings.skipped.items())
    if not seen:
        raise CameraError(
            f"no frame of {options.camera} that can be read came in {options.timeout_s:g} s"
            + (f" (skipped: {skipped})" if skipped else "; is it online, and does anything move?")
        )
    return list(seen.values())

"""What a device costs that it runs on: disk, start, memory, CPU time of a frame and where it goes.

    device side (daemon, camera process) at work --+-- CPU time a frame --+
                                                   `-- memory, stages     |-- ratio
    the same frames, decoded and encoded in one plain loop, alone ---------+

At two frames a second, and at the greatest rate that one core holds; with the synthetic street,
whose frames are rendered, and with JPEGs of it, which are decoded as a camera's are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import cv2

from aiflow.bench.device_page import table
from aiflow.bench.device_rig import (
    STAGES,
    STATS_S,
    Window,
    anything,
    proportional_mb,
    running,
)
from aiflow.bench.device_size import installed_mb
from aiflow.common.errors import AiflowError
from aiflow.device.camera.synthetic import JPEG_QUALITY, SIZE
from aiflow.street.animation import Street

FPS: Final = 2.0
STARTS: Final = 5
WINDOW_S: Final = 15.0
GREATEST_WINDOW_S: Final = 10.0
MIN_WINDOW_S: Final = 2.0
MAX_FPS: Final = 120.0
"""More cannot be configured."""
STEP: Final = 0.85
"""The search begins at so much of what the CPU time allows; each trial is slower by as much."""
TRIES: Final = 5
HELD: Final = 0.97
"""A rate is held if so much of it comes, and nothing is replaced by a fresher frame."""
JPEGS: Final = 60
PARTS: Final = ("daemon", "camera")

Say = Callable[[str], None]


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Mapping[str, Any]:
    """Measure everything; `scenes` (30) are the frames of the window at two frames a second."""
    del plot  # nothing to draw
    began = time.monotonic()
    window_s = WINDOW_S if scenes is None else max(scenes / FPS, MIN_WINDOW_S)
    sizes = installed_mb()
    figures: dict[str, Any] = {
        "install_mb": round(sum(sizes.values()), 1),
        "install_parts_mb": {name: round(size, 2) for name, size in sizes.items()},
    }
    with tempfile.TemporaryDirectory(prefix="aiflow-jpegs-") as folder:
        write_jpegs(seed, Path(folder))
        street, jpegs = f"synthetic:street?seed={seed}", f"{folder}?loop=1"
        figures |= observe_source(street, STARTS, window_s, lambda text: say(f"street: {text}"))
        figures["jpegs"] = observe_source(jpegs, 1, window_s, lambda text: say(f"JPEGs: {text}"))
    say(f"measured in {time.monotonic() - began:.0f} s\n\n{table(figures)}")
    return figures


def write_jpegs(seed: int, folder: Path) -> None:
    """The first frames of the street at two a second, as files."""
    street = Street(seed)
    for index in range(JPEGS):
        image = street.frame(index / FPS, SIZE, "normal").image
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        cv2.imwrite(str(folder / f"{index:04}.jpg"), image, quality)


@dataclass(frozen=True, slots=True)
class Run:
    """A device at work: what it was given, and what came of it."""

    uri: str
    fps: float
    core: int | None
    """The only one that it may use; None for any."""
    start_s: tuple[float, float]
    """Until its first embedding: time that passed, and CPU time."""
    window: Window
    memory_mb: Mapping[str, float]


def observe_source(uri: str, starts: int, window_s: float, say: Say) -> dict[str, Any]:
    """A device with this camera at both rates: on any core, and under `one_core` on the last."""
    say(f"{FPS:.3g} frames a second")
    slow = costs(work(uri, FPS, None, window_s), starts, say)
    core = max(os.sched_getaffinity(0))
    fast = greatest(uri, core, min(window_s, GREATEST_WINDOW_S), say)
    return {**slow, "one_core": costs(fast, starts, say)}


def work(
    uri: str,
    fps: float,
    core: int | None,
    window_s: float,
    wanted: Callable[[Window], bool] = anything,
) -> Run:
    """Let a device work for so long, or until it is not `wanted` any more."""
    with running(uri, fps, core) as rig:
        window = rig.watch(window_s, wanted)
        sizes = map(proportional_mb, rig.pids())
        return Run(uri, fps, core, (rig.first_s, rig.first_cpu_s), window, _named(PARTS, sizes))


def greatest(uri: str, core: int, window_s: float, say: Say) -> Run:
    """The run at the greatest rate of a falling series that one core holds for the whole window.

    If it holds none of them, because it has other work, the last one; `holds` is false for it.
    """
    fps = min(MAX_FPS, STEP * greatest_fps(uri, core))
    rates = [fps * STEP**number for number in range(TRIES)]
    while True:
        fps = rates.pop(0)
        run = work(uri, fps, core, window_s, partial(holds, fps=fps))
        held = holds(run.window, fps)
        say(f"one core {'holds' if held else 'does not hold'} {fps:.1f} frames a second")
        if held or not rates:
            return run


def greatest_fps(uri: str, core: int) -> float:
    """What one core could do if it did nothing but frames, by what a frame costs under overload.

    Frames that nobody looks at cost the camera's process as much as others.
    """
    with running(uri, MAX_FPS, core) as rig:
        window = rig.watch(STATS_S)
    daemon_s, camera_s = window.cpu_s
    return 1 / (daemon_s / len(window.frames) + camera_s / window.grown("captured"))


def holds(window: Window, fps: float) -> bool:
    """Whether no frame was left out."""
    # One frame may be on its way when the statistics are sent.
    enough = len(window.frames) + 1 >= HELD * fps * window.seconds
    return enough and window.grown("replaced") == 0


def bare_ms(uri: str, fps: float, frames: range, core: int | None) -> tuple[float, float]:
    """CPU time in ms to decode a frame, and to encode it, in a fresh process without a device."""
    job = json.dumps({"uri": uri, "fps": fps, "frames": [frames.start, frames.stop], "core": core})
    command = [sys.executable, "-P", "-m", "aiflow.bench.device_bare", job]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AiflowError(f"the bare encoder ended by itself: {done.stderr[-500:]}")
    decode_ms, encode_ms = json.loads(done.stdout)
    return decode_ms, encode_ms


def costs(run: Run, starts: int, say: Say) -> dict[str, Any]:
    """The figures of a run; the device is started again until there are so many starts."""
    begun = [run.start_s]
    if starts > 1:
        say(f"{starts - 1} more starts")
    while len(begun) < starts:
        with running(run.uri, run.fps, run.core) as rig:
            begun.append((rig.first_s, rig.first_cpu_s))
    first_s, first_cpu_s = zip(*begun, strict=True)
    window = run.window
    spent_ms = [1000 * spent / len(window.frames) for spent in window.cpu_s]
    say("the same frames without a device")
    bare = bare_ms(run.uri, run.fps, window.frames, run.core)
    return {
        "fps": round(run.fps, 2),
        "frames": len(window.frames),
        "held": holds(window, run.fps),
        "cold_start_s": round(median(first_s), 3),
        "cold_start_worst_s": round(max(first_s), 3),
        "cold_start_cpu_s": round(median(first_cpu_s), 3),
        "rss_mb": round(sum(run.memory_mb.values()), 1),
        "rss_parts_mb": run.memory_mb,
        "frame_cpu_ms": round(sum(spent_ms), 3),
        "frame_cpu_parts_ms": _named(PARTS, spent_ms),
        "bare_cpu_ms": _named(("decode", "encode"), bare),
        "frame_cpu_ratio": round(sum(spent_ms) / sum(bare), 3),
        "frame_ms": _named(STAGES, map(window.mean_ms, STAGES)),
    }


def _named(names: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in zip(names, values, strict=True)}

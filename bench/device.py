"""What a device costs that it runs on: disk, start, memory, CPU time of a frame and where it goes.

    device side (daemon, camera process) at work --+-- CPU time a frame --+
                                                   `-- memory, stages     |-- ratio
    the same frames, only rendered and encoded, in a process of its own --+

Once at two frames a second, and once at the greatest rate that one core holds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

import aiflow
from aiflow.bench.device_rig import Told, proportional_mb, running
from aiflow.bench.tables import Goal, goal_table, markdown
from aiflow.common.errors import AiflowError

FPS: Final = 2.0
STARTS: Final = 5
WINDOW_S: Final = 30.0
MIN_WINDOW_S: Final = 2.0
TRIAL_S: Final = 6.0
BARE_FRAMES: Final = 60
FIRST_SHARE: Final = 0.4
"""The search begins at so much of the rate that rendering and encoding alone would reach."""
STEP: Final = 1.15
"""Each trial of the search is so much faster than the one before,"""
HELD: Final = 0.97
"""and a rate is held if so much of it is captured and nothing is replaced."""
TRIES: Final = 4
MAX_FPS: Final = 120.0
STAGES: Final = ("capture", "gate", "encode", "compress", "publish")
WAIT_S: Final = 30.0
"""How late statistics may be."""
INSTALL_S: Final = 600.0

Say = Callable[[str], None]


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Mapping[str, Any]:
    """Measure everything; `scenes` (60) are the frames of the window at two frames a second."""
    del plot  # nothing to draw
    window_s = WINDOW_S if scenes is None else max(scenes / FPS, MIN_WINDOW_S)
    core = max(os.sched_getaffinity(0))
    slow = observe(seed, FPS, None, window_s, say)
    fast = observe_greatest(seed, core, window_s, say)
    installed = install_mb(say)
    figures = {**installed, **slow, "one_core": fast}
    say(table(figures))
    return figures


def observe(seed: int, fps: float, core: int | None, window_s: float, say: Say) -> dict[str, Any]:
    """A device at this rate, on one core or on any: how it starts and what it costs then."""
    starts = [start_s(seed, fps, core) for _ in range(STARTS - 1)]
    with running(seed, fps, core, window_s) as rig:
        starts.append(rig.first_s)
        say(f"at {fps:.3g} frames a second for {window_s:.0f} s")
        first, last = rig.told(window_s + WAIT_S), rig.told(window_s + WAIT_S)
        memory = [proportional_mb(pid) for pid in rig.pids()]
    counted = range(first.count("looked_at"), last.count("looked_at"))
    if not counted:
        raise AiflowError(f"at {fps:.3g} frames a second no frame came in {window_s:.0f} s")
    cpu_ms = 1000 * (last.cpu_s - first.cpu_s) / len(counted)
    render_ms, encode_ms = bare_ms(seed, fps, counted, core)
    return {
        "fps": round(fps, 2),
        "frames": len(counted),
        "held": holds(first, last, fps),
        "cold_start_s": round(median(starts), 3),
        "rss_mb": round(sum(memory), 1),
        "rss_parts_mb": {
            name: round(each, 1) for name, each in zip(("daemon", "camera"), memory, strict=True)
        },
        "frame_cpu_ms": round(cpu_ms, 2),
        "bare_cpu_ms": {"render": round(render_ms, 2), "encode": round(encode_ms, 2)},
        "frame_cpu_ratio": round(cpu_ms / (render_ms + encode_ms), 3),
        "encoder_cpu_ratio": round((cpu_ms - render_ms) / encode_ms, 3),
        "frame_ms": {stage: round(last.mean_ms(stage), 3) for stage in STAGES},
    }


def start_s(seed: int, fps: float, core: int | None) -> float:
    """Seconds from the start of a device's process to its first embedding at a subscriber."""
    with running(seed, fps, core, WINDOW_S) as rig:
        return rig.first_s


def observe_greatest(seed: int, core: int, window_s: float, say: Say) -> dict[str, Any]:
    """A device on one core, at the greatest rate that is held for the whole window.

    `held` is false in it if that did not come about in a few tries: then the core had other work.
    """
    fps = greatest_rate(seed, core, say)
    for _ in range(TRIES - 1):
        one = observe(seed, fps, core, window_s, say)
        if one["held"]:
            return one
        fps /= STEP
    return observe(seed, fps, core, window_s, say)


def greatest_rate(seed: int, core: int, say: Say) -> float:
    """The greatest rate of a series that one core holds; AiflowError if not even the first."""
    fps = FIRST_SHARE * 1000 / sum(bare_ms(seed, MAX_FPS, range(BARE_FRAMES), core))
    held = 0.0
    while fps <= MAX_FPS:
        with running(seed, fps, core, TRIAL_S) as rig:
            first, last = rig.told(TRIAL_S + WAIT_S), rig.told(TRIAL_S + WAIT_S)
        if not holds(first, last, fps):
            break
        say(f"one core holds {fps:.1f} frames a second")
        held, fps = fps, fps * STEP
    if not held:
        raise AiflowError(f"one core does not hold {fps:.1f} frames a second; is it busy?")
    return held


def holds(first: Told, last: Told, fps: float) -> bool:
    """Whether between two messages of statistics no frame was left out."""
    replaced = last.count("replaced") - first.count("replaced")
    looked_at = last.count("looked_at") - first.count("looked_at")
    seconds = last.stats.uptime_s - first.stats.uptime_s
    # One frame may be on its way when the statistics are sent.
    return replaced == 0 and looked_at + 1 >= HELD * fps * seconds


def bare_ms(seed: int, fps: float, frames: range, core: int | None) -> tuple[float, float]:
    """CPU time in ms to render a frame, and to encode it, in a fresh process without a device."""
    job = json.dumps(
        {"seed": seed, "fps": fps, "frames": [frames.start, frames.stop], "core": core}
    )
    command = [sys.executable, "-P", "-m", "aiflow.bench.device_bare", job]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AiflowError(f"the bare encoder ended by itself: {done.stderr[-500:]}")
    render_ms, encode_ms = json.loads(done.stdout)
    return render_ms, encode_ms


def install_mb(say: Say) -> dict[str, Any]:
    """What `pip install .[device]` puts into an empty folder; None and the reason without pip."""
    source = Path(aiflow.__file__).parent
    if not (source / "setup.cfg").is_file():
        return _not_installed("aiflow runs from an installed package; measure in a checkout")
    say("installing the extra `device` into a folder of its own")
    with tempfile.TemporaryDirectory(prefix="aiflow-install-") as name:
        # pip builds in the folder that it is given: not in the checkout.
        copy, target = Path(name, "source"), Path(name, "target")
        shutil.copytree(source, copy, ignore=_no_leftovers)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target),
                   f"{copy}[device]"]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=INSTALL_S
            )
        except subprocess.TimeoutExpired:
            return _not_installed(f"pip took more than {INSTALL_S:.0f} s")
        if done.returncode:
            return _not_installed(f"pip failed: {done.stderr.strip()[-300:]}")
        return {"install_mb": round(folder_mb(target), 1)}


def folder_mb(folder: Path) -> float:
    """Bytes of all its files, in MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def goals(figures: Mapping[str, Any]) -> list[Goal]:
    """What a device was built to cost at most, and what it does."""
    return [
        goal
        for where, one in (("two a second", figures), ("one core", figures["one_core"]))
        for goal in (
            Goal(f"cold start, s ({where})", "≤", 2.0, one["cold_start_s"]),
            Goal(f"memory, MB ({where})", "≤", 160, one["rss_mb"]),
            Goal(f"CPU time over the bare encoder's ({where})", "≤", 1.3, one["frame_cpu_ratio"]),
        )
    ]


def table(figures: Mapping[str, Any]) -> str:
    """Tables in Markdown: both rates, and the goals."""
    both = (figures, figures["one_core"])
    rows = [
        ("", *(f"{one['fps']:.3g} frames a second" for one in both)),
        ("held", *("yes" if one["held"] else "no" for one in both)),
        ("cold start, s", *(f"{one['cold_start_s']:.2f}" for one in both)),
        ("memory, MB", *(f"{one['rss_mb']:.0f}" for one in both)),
        ("CPU time a frame, ms", *(f"{one['frame_cpu_ms']:.1f}" for one in both)),
        *(
            (f"{part} alone, ms", *(f"{one['bare_cpu_ms'][part]:.1f}" for one in both))
            for part in ("render", "encode")
        ),
        ("over both", *(f"{one['frame_cpu_ratio']:.2f}" for one in both)),
        (
            "over the encoder, both without rendering",
            *(f"{one['encoder_cpu_ratio']:.2f}" for one in both),
        ),
        *((f"{stage}, ms", *(f"{one['frame_ms'][stage]:.2f}" for one in both)) for stage in STAGES),
    ]
    size = figures["install_mb"]
    told = f"{size:.0f} MB" if size is not None else f"not measured: {figures['install_why']}"
    return f"installed: {told}\n\n{markdown(rows)}\n\n{goal_table(goals(figures))}"


def _not_installed(why: str) -> dict[str, Any]:
    return {"install_mb": None, "install_why": why}


def _no_leftovers(folder: str, names: list[str]) -> list[str]:
    """What a checkout has and a package does not need."""
    at_top = Path(folder) == Path(aiflow.__file__).parent
    unwanted = {"build", "dist", "docs", "runs", "tests"} if at_top else set()
    return [
        name
        for name in names
        if name in unwanted or name.startswith(".") or name.endswith((".egg-info", "__pycache__"))
    ]

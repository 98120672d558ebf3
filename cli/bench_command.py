"""`aiflow bench NAME`: run one of the registered measurements."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from aiflow import __version__
from aiflow.bench.registry import BENCHMARKS, find
from aiflow.cli.output import write_json
from aiflow.common.errors import ConfigError


def show_known() -> None:
    """All benchmarks, one a line."""
    for benchmark in BENCHMARKS:
        print(f"{benchmark.name:14} {benchmark.summary}")


def bench(
    name: str,
    *,
    json_path: Path | None,
    plot: Path | None,
    seed: int,
    scenes: int | None,
    data: Path | None,
) -> None:
    """Run a benchmark; its figures go to `json_path` with where and when they were measured."""
    benchmark = find(name)
    if data is not None and not benchmark.of_photos:
        raise ConfigError(f"benchmark {name} measures no photos; leave --data out")
    more = {"data": data} if benchmark.of_photos else {}
    figures = benchmark.load()(seed=seed, plot=plot, say=_say, scenes=scenes, **more)
    if json_path is not None:
        write_json(json_path, {"benchmark": name, "seed": seed, **_surroundings(), **figures})


def _say(text: str) -> None:
    print(text, flush=True)


def _surroundings() -> dict[str, object]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.platform()}",
        "python": sys.version.split()[0],
        "software": __version__,
    }

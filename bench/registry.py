"""Which benchmarks there are. One entry here is all that `aiflow bench NAME` needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from aiflow.common.errors import ConfigError


class RunsBenchmark(Protocol):
    """What a benchmark's module has as `run`."""

    def __call__(
        self,
        *,
        seed: int,
        plot: Path | None,
        say: Callable[[str], None],
        scenes: int | None = None,
    ) -> Mapping[str, object]:
        """Measure; tell progress and the table by `say`; return figures fit for JSON.

        `plot` is a folder for pictures, or None; `scenes` how much to measure, where that is a
        question of scenes. Expected faults are AiflowErrors.
        """
        ...


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name, which is its module's as well, and what it measures in one line."""

    name: str
    summary: str
    of_photos: bool = False
    """Its `run` also takes `data`, the folder of photos with captions, or None."""

    def load(self) -> RunsBenchmark:
        """Its `run`; ConfigError when it needs a package that is not installed."""
        try:
            module = importlib.import_module(f"aiflow.bench.{self.name.replace('-', '_')}")
            return cast("RunsBenchmark", module.run)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("aiflow"):
                raise
            raise ConfigError(
                f"benchmark {self.name} needs {error.name}, which comes with the extra `bench`:"
                " pip install 'aiflow-edge[bench]'"
            ) from error


BENCHMARKS: Final = (
    Benchmark(
        "quality",
        "how well held-out scenes are captioned: by tier, by prefix of tokens, by split",
    ),
    Benchmark(
        "rate",
        "bytes against the quality of captions: ours, image codecs, features, merged tokens",
    ),
    Benchmark(
        "photos",
        "captions of real photos, by tier, against people's; bytes against image codecs",
        of_photos=True,
    ),
    Benchmark(
        "cooperation",
        "the cascade of edge and cloud, its confidence, and what drafts save",
    ),
    Benchmark(
        "case-study",
        "who captions, over which link, how soon and how well: all systems, real processes",
    ),
    Benchmark(
        "device",
        "what a device costs: disk, start, memory, CPU time of a frame",
    ),
    Benchmark(
        "triggers",
        "triggers on words and examples against the truth of the live street, by occurrence",
    ),
)


def find(name: str) -> Benchmark:
    """The benchmark of that name; ConfigError that lists the known ones if there is none."""
    for benchmark in BENCHMARKS:
        if benchmark.name == name:
            return benchmark
    known = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    raise ConfigError(f"there is no benchmark {name!r}; known: {known}")

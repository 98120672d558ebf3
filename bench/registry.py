"""Which benchmarks there are. One entry here is all that `aiflow bench NAME` needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, cast

from aiflow.common.errors import ConfigError


class Run(Protocol):
    """What a benchmark's module has as `run`."""

    def __call__(
        self, *, seed: int, plot: Path | None, say: Callable[[str], None]
    ) -> Mapping[str, object]:
        """Measure; tell progress and the table by `say`; return figures fit for JSON.

        `plot` is a folder for pictures, or None. Expected faults are AiflowErrors.
        """
        ...


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name, what it measures in one line, and the module whose `run` does it."""

    name: str
    summary: str
    module: str

    def load(self) -> Run:
        return cast("Run", importlib.import_module(self.module).run)


BENCHMARKS: Final = (
    Benchmark(
        "link",
        "the emulated link's own accuracy: computed against measured transmission time",
        "aiflow.bench.link_accuracy",
    ),
)


def find(name: str) -> Benchmark:
    """The benchmark of that name; ConfigError that lists the known ones if there is none."""
    for benchmark in BENCHMARKS:
        if benchmark.name == name:
            return benchmark
    known = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    raise ConfigError(f"there is no benchmark {name!r}; known: {known}")

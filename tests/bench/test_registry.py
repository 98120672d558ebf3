from __future__ import annotations

import pytest

from aiflow.bench.registry import BENCHMARKS, find
from aiflow.common.errors import ConfigError


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda benchmark: benchmark.name)
def test_every_benchmark_can_be_loaded(benchmark: object) -> None:
    try:
        run = find(benchmark.name).load()  # type: ignore[attr-defined]
    except ConfigError as error:  # without the extra `bench`
        pytest.skip(str(error))
    assert callable(run)


def test_names_are_unique() -> None:
    assert len({benchmark.name for benchmark in BENCHMARKS}) == len(BENCHMARKS)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"no benchmark 'links'; known: quality, rate"):
        find("links")

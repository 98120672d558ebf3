from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from aiflow.bench.registry import Benchmark
from aiflow.cli import main


def test_benchmarks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bench"]) == 0
    assert capsys.readouterr().out.startswith("quality ")


def test_figures_are_written_with_where_and_when(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(
        *, seed: int, plot: Path | None, say: Callable[[str], None], scenes: int | None = None
    ) -> Mapping[str, object]:
        say("measuring")
        return {"answer": seed, "plot": str(plot), "scenes": scenes}

    monkeypatch.setattr(Benchmark, "load", lambda _self: run)
    path = tmp_path / "figures.json"
    arguments = ["bench", "quality", "--json", str(path), "--seed", "42", "--plot", "pictures"]
    arguments += ["--scenes", "9"]
    assert main.run(arguments) == 0
    assert capsys.readouterr().out == "measuring\n"
    figures = json.loads(path.read_text())
    assert (figures["benchmark"], figures["seed"], figures["answer"]) == ("quality", 42, 42)
    assert (figures["plot"], figures["scenes"]) == ("pictures", 9)
    assert figures.keys() >= {"date", "machine", "python", "software"}

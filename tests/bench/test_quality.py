"""The benchmark on a handful of scenes: its keys, and that its figures hang together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pycocoevalcap", reason="needs the extra bench")
pytest.importorskip("ai_edge_litert", reason="needs the extra tflite")

from aiflow.bench import quality


@pytest.fixture(scope="module")
def figures() -> Mapping[str, Any]:
    return quality.run(seed=3, plot=None, say=lambda _text: None, scenes=8)


def test_all_figures_are_there(figures: Mapping[str, Any]) -> None:
    assert figures["scene_entropy_bits"] >= 45
    for tier in ("device", "edge", "cloud", "cloud_hard", "cloud_heldout"):
        found = figures["tiers"][tier]
        assert 0 <= found["exact_rate"] <= found["fact_f1"] <= 1
        assert {"cider", "bleu4", "fact_f1_interval"} <= found.keys()
    assert figures["encoder"]["macs"] <= 150_000_000
    assert {"float_onnx", "onnx_int8"} <= figures["encode_ms"].keys()
    assert {"nano", "edge", "cloud"} == figures["decoders"].keys()


def test_all_tokens_are_the_longest_prefix(figures: Mapping[str, Any]) -> None:
    prefixes = figures["prefixes"]
    assert [one["tokens"] for one in prefixes] == list(range(1, len(prefixes) + 1))
    assert prefixes[-1]["fact_f1"] == figures["tiers"]["cloud"]["fact_f1"]
    assert prefixes[0]["fact_f1"] < prefixes[-1]["fact_f1"]


def test_the_int8_encoder_is_the_one_that_the_tiers_are_measured_with(
    figures: Mapping[str, Any],
) -> None:
    encoder = figures["encoder"]
    assert encoder["onnx_int8"]["fact_f1"] == figures["tiers"]["cloud"]["fact_f1"]
    assert encoder["same_symbols"]["onnx_int8"] > 0.95


def test_the_page_for_people_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra bench")
    quality.run(seed=4, plot=tmp_path, say=lambda _text: None, scenes=2)
    assert (tmp_path / "quality-grid.png").stat().st_size > 10_000

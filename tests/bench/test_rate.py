from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra bench")
pytest.importorskip("PIL", reason="needs the extra bench")
pytest.importorskip("zstandard", reason="needs the extra bench")
pytest.importorskip("pycocoevalcap", reason="needs the extra bench")

from collections.abc import Sequence

from aiflow.bench import rate
from aiflow.bench.baselines import features, fitted, images
from aiflow.bench.baselines.split import FloatEncoder
from aiflow.bench.coded import Coder
from aiflow.bench.judge import Judge
from aiflow.bench.rate_page import table
from aiflow.bench.rate_passes import Effort, LoadedBundle
from aiflow.common.captioner import Draft, Request
from aiflow.common.codec import Tables
from aiflow.common.encoder import Encoder
from aiflow.common.runtime import OnnxModel
from aiflow.rig.render_pool import RenderPool


class Teller:
    """Says things that depend on the symbols; nearly equal symbols get nearly equal captions."""

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        words = ("a", "red", "bus", "waits", "dog", "near", "on", "the", "left", "right")
        return [
            Draft((), " ".join(words[symbol] for symbol in one.symbols.ravel()), 1.0)
            for one in batch
        ]


@pytest.fixture(autouse=True)
def _small_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "SIZES", ((160, 120), (80, 60)))
    monkeypatch.setattr(images, "QUALITIES", {"jpeg": (10, 60), "webp": (10, 60), "avif": (10, 60)})
    monkeypatch.setattr(features, "BITS", (8, 4))
    monkeypatch.setattr(fitted, "GROUPS", (6, 12))
    monkeypatch.setattr(fitted, "DIMS", {"map": (4, 8), "pooled": (4, 8)})
    monkeypatch.setattr(fitted, "STEPS", (0.5, 0.05))


def test_the_figures_have_the_names_that_they_are_known_by(
    encoder_path: Path, float_encoder: FloatEncoder
) -> None:
    device_encoder = Encoder(OnnxModel(encoder_path), (32, 24), (5, 5, 5))
    coder = Coder(Tables.uniform(4, 3, 5, layers=(2, 4)), b"ab", 2)
    parts = LoadedBundle(float_encoder, device_encoder, Judge(Teller(), 4), coder)
    effort = Effort(scenes=6, searched=4, screened=2, calibration=6, frames=8)
    said: list[str] = []
    with RenderPool(0, workers=1) as renders:
        figures = rate.measure(parts, renders, effort, 0, said.append)
    assert figures["scene_entropy_bits"] == pytest.approx(45.91)
    assert figures["uncompressed"].keys() == {"cider", "fact_f1"}
    ours = {"payload_bytes_mean", "body_bits_mean", "socket_bytes_mean", "cider", "fact_f1"}
    assert figures["key"].keys() >= ours
    assert figures["key"]["body_bits_mean"] == pytest.approx(32)  # 12 symbols of log2(5) bits
    live = {"payload_bytes_mean", "socket_bytes_mean", "fact_f1", "fps"}
    assert figures["stream"].keys() >= live
    assert figures["best_image"].keys() >= {"codec", "bytes_mean", "cider", "fact_f1"}
    assert figures["camera_jpeg"]["bytes_mean"] > 10_000
    assert figures["tofc"].keys() >= {"bytes_mean", "cider", "fact_f1", "equal_quality"}
    assert figures["ratio"].keys() >= {"best_image", "tofc", "camera_jpeg", "floor"}
    assert 0 < figures["codec_ms_p95"] < 50
    assert figures["ratio"]["best_image"] == pytest.approx(
        figures["best_image"]["bytes_mean"] / figures["key"]["payload_bytes_mean"], abs=0.02
    )
    families = {"jpeg", "webp", "avif", "features", "tofc", "slots", "fixed"}
    assert figures["baselines"].keys() == families
    assert figures["by_facts"]["bytes_mean"]["fixed"] == 4.0
    assert figures["by_facts"]["ratio"].keys() <= {"best_image", "tofc"}
    assert figures["curves"].keys() == families | {"aiflow"}
    assert [point["setting"] for point in figures["curves"]["aiflow"]] == [
        f"{tokens} tokens" for tokens in range(1, 5)
    ]
    assert "AI Flow, key frame" in table(figures)
    assert any("webp" in line for line in said)

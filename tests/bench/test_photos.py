from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pycocoevalcap", reason="needs the extra bench")
pytest.importorskip("PIL", reason="needs the extra bench")

from aiflow.bench import photos
from aiflow.common.bundle import Bundle, built_in
from aiflow.common.errors import ConfigError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "flickr8k"


def test_without_photos_it_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match="--data DIR"):
        photos.run(seed=0, plot=None, say=print, data=None)


def test_bytes_are_those_of_whole_payloads() -> None:
    bundle = Bundle.open("street")
    frames = [np.zeros((bundle.tokens, bundle.dims), np.uint8)] * 2
    key = photos.key_bytes(bundle, frames)
    assert 8 <= key["base_payload_bytes_mean"] <= key["payload_bytes_mean"] <= 80


@pytest.mark.skipif("photo" not in built_in(), reason="needs the bundle `photo`")
@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs Flickr8k's photos in {DATA.name}")
def test_a_few_photos_are_captioned_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "SIDES", (32,))
    monkeypatch.setattr(photos, "QUALITIES", {"jpeg": (5, 90)})
    monkeypatch.setattr("aiflow.bench.quality.TIMED", 3)
    lines: list[str] = []
    figures = photos.run(seed=0, plot=None, say=lines.append, scenes=12, data=DATA)
    assert set(figures) >= {"tiers", "key", "ratio", "cascade", "calibration", "speculation"}
    tiers = figures["tiers"]
    assert isinstance(tiers, dict)
    assert set(tiers) == {"device", "edge", "cloud"}
    assert all(0 < tier["object_precision"] <= 1 for tier in tiers.values())
    assert figures["speculation"] == {
        "identical": 1.0,
        "cloud_passes_saved": pytest.approx(0.5, abs=0.5),
    }
    assert "cloud: CIDEr-D" in lines[-1]

"""The whole recipe, shortened: every stage runs, and the same seed gives the same files."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra train")
pytest.importorskip("onnx", reason="needs the extra train")
pytest.importorskip("matplotlib", reason="needs the extra train")

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.encoder import Encoder
from aiflow.training import dataset, plots, recipe, street


def _tiny() -> recipe.Recipe:
    tiny = recipe.load("tiny")
    assert isinstance(tiny, recipe.Recipe)
    return tiny


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("runs")
    return Bundle.open(street.make(_tiny(), out))


@pytest.mark.timeout(240)
def test_the_tiny_recipe_gives_a_bundle_that_runs(bundle: Bundle) -> None:
    frame = np.zeros((480, 640, 3), np.uint8)
    symbols = Encoder.load(bundle).encode(frame).symbols
    assert symbols.shape == (bundle.tokens, bundle.dims)
    for tier in bundle.manifest.decoders:
        (draft,) = Captioner(bundle, tier).caption([Request(symbols)])
        assert 1 <= len(draft.tokens) <= bundle.manifest.decoders[tier].max_tokens


class Here:
    """Stands in for a pool of processes: it works in this one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


@pytest.mark.timeout(240)
def test_the_same_seed_gives_the_same_hashes_wherever_it_is_made(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "_painters", lambda _workers: Here())
    monkeypatch.setattr(street, "ProcessPoolExecutor", lambda *_, **__: Here())
    again = Bundle.open(street.make(_tiny(), tmp_path))
    assert again.manifest.sha256 == bundle.manifest.sha256


def test_the_curves_of_a_training_are_drawn(bundle: Bundle, tmp_path: Path) -> None:
    path = plots.draw(bundle.path.parent, tmp_path / "images", 45.9)
    assert path == tmp_path / "images" / "training.png"
    assert path.stat().st_size > 10_000

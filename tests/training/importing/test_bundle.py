"""From a made-up captioner and images to a bundle: what is in it, and what happens if it fails."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra import")
pytest.importorskip("onnx", reason="needs the extra import")
pytest.importorskip("transformers", reason="needs the extra import")

import torch
from tests.training.importing.made_up import MAX_TOKENS, TOKENS, made_up, write_images

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.codec import compress, decompress
from aiflow.common.encoder import Encoder
from aiflow.common.errors import BundleInvalid, ConfigError, StorageError
from aiflow.common.greedy import END
from aiflow.training.importing import bundle as bundles
from aiflow.training.importing import files
from aiflow.training.importing.bundle import Options, import_bundle, layers_of, make
from aiflow.training.importing.model import Foreign, load
from aiflow.training.importing.pictures import OwnImages, held_out

IMAGES = 48


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"), IMAGES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Bundle:
    """With all tokens and many stages, so that next to nothing is lost."""
    folder = tmp_path_factory.mktemp("bundle")
    make(
        made_up(),
        OwnImages(images),
        folder,
        "porch",
        Options(tokens=64, stages=12, encoder="float"),
    )
    return Bundle.open(folder)


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    make(made_up("apache-2.0"), OwnImages(images), folder, "porch", Options(tokens=8, stages=2))
    return Bundle.open(folder)


def test_the_manifest_says_what_was_made(coarse: Bundle) -> None:
    manifest, encoder = coarse.manifest, coarse.manifest.encoder
    assert (manifest.name, manifest.license) == ("porch", "apache-2.0")
    assert (encoder.tokens, encoder.dims, encoder.layers) == (8, 2, (2, 4, 8))
    assert encoder.levels == (36 * 8 // 16,) * 2, "a code for every 16 vectors of 36 images"
    assert encoder.macs > 0
    assert set(manifest.decoders) == {"nano", "edge", "cloud"}
    assert len(manifest.decoders["edge"].calibration) == 3
    assert manifest.escalate_below == 0
    assert manifest.training["fitted_to"] == 36
    figures = manifest.figures
    assert figures["images"] == 12
    assert "48 images are few" in figures["few"]
    sizes = [figures["bytes_by_layers"][str(n)] for n in (1, 2, 3)]
    assert 0 < sizes[0] < sizes[1] < sizes[2] <= 8 * 2
    assert figures["edge"]["exact"] < figures["edge"]["words"] < 1
    assert figures["error_by_stage"]["2"] < figures["error_by_stage"]["1"] < 1


def test_nothing_of_the_machine_is_in_it(coarse: Bundle, images: Path) -> None:
    for path in coarse.path.glob("*.json"):
        text = path.read_text()
        assert str(images) not in text
        assert str(coarse.path) not in text


def test_devices_send_what_the_codec_makes_of_their_pictures(whole: Bundle, images: Path) -> None:
    """All the way by bytes, and what is lost on it is little."""
    model = made_up()
    for image in list(OwnImages(images).read(model.size))[:6]:
        symbols = Encoder.load(whole).encode(image).symbols
        body = compress(symbols, whole.tables, layers=3)
        np.testing.assert_array_equal(decompress(body, whole.tables, layers=3), symbols)


def test_captions_are_the_whole_models_where_little_is_lost(whole: Bundle, images: Path) -> None:
    assert whole.tokens == TOKENS
    assert whole.manifest.figures["error_by_stage"]["12"] < 0.02
    model, captioner, encoder = made_up(), Captioner(whole, "cloud"), Encoder.load(whole)
    pictures = list(OwnImages(images).read(model.size))
    with torch.no_grad():
        hidden = model.vision(torch.from_numpy(np.stack(pictures)).float())
    wanted = model.caption(hidden)
    drafts = captioner.caption([Request(encoder.encode(image).symbols) for image in pictures])
    same = [list(draft.tokens) == ids for draft, ids in zip(drafts, wanted, strict=True)]
    assert np.mean(same) > 0.85
    held = held_out(IMAGES)
    assert whole.manifest.figures["edge"]["exact"] == pytest.approx(
        np.mean(np.array(same)[held]), abs=1e-3
    )


def test_a_caption_that_is_cut_is_compared_as_far_as_it_goes() -> None:
    with torch.no_grad():
        lines = made_up().caption(torch.randn(40, TOKENS, 16))
    assert any(END not in line and len(line) == MAX_TOKENS for line in lines)
    assert any(line[-1] == END for line in lines)


def test_int8_is_of_the_vision_model_alone(coarse: Bundle) -> None:
    import onnx  # noqa: PLC0415 - an extra

    graph = onnx.load(str(coarse.file("encoder_onnx"))).graph
    integer = [node.name for node in graph.node if node.op_type == "MatMulInteger"]
    assert len(integer) == 2
    assert all(name.startswith("/vision/") for name in integer)
    assert any(node.op_type == "MatMul" for node in graph.node)
    assert coarse.manifest.figures["encoder_float"]["same_symbols"] > 0.5


def test_without_int8_devices_run_the_float_encoder(whole: Bundle) -> None:
    assert whole.file("encoder_onnx") == whole.file("encoder_float")
    assert not (whole.path / "encoder.onnx").exists()
    assert "encoder_float" not in whole.manifest.figures, "there is nothing to compare"


def test_the_same_images_give_the_same_bundle(tmp_path: Path, images: Path, coarse: Bundle) -> None:
    make(made_up("apache-2.0"), OwnImages(images), tmp_path, "porch", Options(tokens=8, stages=2))
    assert Bundle.open(tmp_path).id == coarse.id


def test_int8_alone_saves_the_place_of_the_float_encoder(tmp_path: Path, images: Path) -> None:
    options = Options(tokens=4, stages=1, encoder="int8")
    make(made_up(), OwnImages(images), tmp_path, "porch", options)
    assert not (tmp_path / "encoder.float.onnx").exists()
    encoder = Encoder.load(Bundle.open(tmp_path))
    assert encoder.encode(np.zeros((9, 9, 3), np.uint8)).symbols.shape == (4, 1)


@pytest.mark.parametrize("tokens, layers", [(1, (1,)), (2, (1, 2)), (7, (2, 4, 7))])
def test_layers_double(tokens: int, layers: tuple[int, ...]) -> None:
    assert layers_of(tokens) == layers


def test_a_model_without_a_licence_is_not_imported_by_accident(
    tmp_path: Path, images: Path
) -> None:
    with pytest.raises(ConfigError, match="--license"):
        make(made_up(""), OwnImages(images), tmp_path, "porch", Options())
    options = Options(tokens=4, stages=1, license="MIT")
    make(made_up(""), OwnImages(images), tmp_path, "porch", options)
    assert Bundle.open(tmp_path).manifest.license == "MIT"


def test_what_is_too_large_for_a_bundle(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 1000)
    with pytest.raises(BundleInvalid, match="take a smaller model"):
        make(made_up(), OwnImages(images), tmp_path, "porch", Options(tokens=4, stages=1))


class Source:
    """Stands where `load` gives a model."""

    @staticmethod
    def load(source: str) -> Foreign:
        if source == "missing":
            raise BundleInvalid("there is no such model")
        return made_up()


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "load", Source.load)


@pytest.mark.usefixtures("loading")
def test_a_bundle_comes_whole_or_not_at_all(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, options = tmp_path / "deep" / "bundle", Options(tokens=4, stages=1)
    with pytest.raises(BundleInvalid, match="no such model"):
        import_bundle("missing", images, out, options)
    with monkeypatch.context() as patch:
        patch.setattr(bundles, "_judged", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_bundle("made-up", images, out, options)
    with monkeypatch.context() as patch:
        patch.setattr(bundles, "write_words", full_disk)
        with pytest.raises(StorageError, match="No space left"):
            import_bundle("made-up", images, out, options)
    assert list(out.parent.iterdir()) == []
    assert import_bundle("made-up", images, out, options).manifest.name == "bundle"
    assert list(out.parent.iterdir()) == [out]
    with pytest.raises(ConfigError, match="is there already"):
        import_bundle("made-up", images, out, options)
    assert json.loads((out / "manifest.json").read_text())["format"] == 1


@pytest.mark.usefixtures("loading")
def test_sizes_that_no_bundle_has_are_refused(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    monkeypatch.setattr(made_up().__class__, "max_tokens", 1000)
    with pytest.raises(BundleInvalid, match=r"max_tokens: .* 512"):
        import_bundle("made-up", images, out, Options(tokens=4, stages=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("architecture", ["vit_gpt2", "blip", "git"])
def test_each_architecture_becomes_a_bundle(
    tmp_path: Path, images: Path, sources: dict[str, Path], architecture: str
) -> None:
    options = Options(tokens=8, stages=12, license="MIT")
    bundle = import_bundle(str(sources[architecture]), images, tmp_path / "bundle", options)
    model, encoder = load(sources[architecture]), Encoder.load(bundle)
    pictures = list(OwnImages(images).read(model.size))
    given = [encoder.encode(image).symbols for image in pictures]
    drafts = Captioner(bundle, "edge").caption([Request(symbols) for symbols in given])
    with torch.no_grad():
        wanted = model.caption(model.vision(torch.from_numpy(np.stack(pictures)).float()))
    same = np.array([list(d.tokens) == ids for d, ids in zip(drafts, wanted, strict=True)])
    figures = bundle.manifest.figures["edge"]
    assert figures["exact"] == pytest.approx(same[held_out(IMAGES)].mean(), abs=1e-3)
    assert len({draft.text for draft in drafts}) > 3

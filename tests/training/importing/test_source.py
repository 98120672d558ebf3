"""What can be wrong with a model that is to be imported, and what the message says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra import")
pytest.importorskip("transformers", reason="needs the extra import")

import huggingface_hub

from aiflow.common.errors import SourceInvalid
from aiflow.training.importing import model as foreign_model
from aiflow.training.importing.model import load


@pytest.fixture
def source(sources: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the tiny GIT that a test may damage."""
    return Path(shutil.copytree(sources["git"], tmp_path / "git"))


def change(path: Path, **facts: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


@pytest.mark.parametrize("name", ["./nowhere", "nowhere", "/no/where/at/all", "a/b/c"])
def test_what_is_neither_a_directory_nor_of_the_hub_is_refused(name: str) -> None:
    with pytest.raises(SourceInvalid, match="no directory; name one"):
        load(name)


def test_without_a_network_the_hub_is_said_to_be_out_of_reach(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise ConnectionError("cannot reach the hub\nmany more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(SourceInvalid, match=r"does not give it \(cannot reach the hub\)"):
        load("somebody/captioner")


def test_a_model_of_the_hub_is_loaded_without_its_pickles(
    sources: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def give(name: str, *, allow_patterns: list[str]) -> str:
        asked.extend([name, *allow_patterns])
        return str(sources["git"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", give)
    assert load("somebody/captioner").name == "captioner"
    assert asked == ["somebody/captioner", "*.json", "*.safetensors", "README.md"]


def test_another_architecture_names_those_that_can_be_imported(source: Path) -> None:
    change(source / "config.json", architectures=["LlavaForConditionalGeneration"])
    known = "Llava.*knows VisionEncoderDecoderModel, BlipForConditionalGeneration, GitForCausalLM"
    with pytest.raises(SourceInvalid, match=known):
        load(source)


def test_another_decoder_is_named(sources: dict[str, Path], tmp_path: Path) -> None:
    import transformers  # noqa: PLC0415

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**sizes, image_size=32, intermediate_size=8),
        transformers.BertConfig(**sizes, vocab_size=9, intermediate_size=8),
    )
    transformers.VisionEncoderDecoderModel(config).save_pretrained(tmp_path)
    with pytest.raises(SourceInvalid, match="whose decoder is bert"):
        load(tmp_path)


def test_a_model_for_videos_is_refused(tmp_path: Path) -> None:
    import transformers  # noqa: PLC0415

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = transformers.GitConfig(
        vision_config={**sizes, "image_size": 32, "intermediate_size": 8},
        **sizes,
        intermediate_size=8,
        vocab_size=9,
        bos_token_id=1,
        eos_token_id=2,
        num_image_with_embedding=2,
    )
    transformers.GitForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(SourceInvalid, match="captions videos"):
        load(tmp_path)


def test_pickled_weights_are_refused(source: Path) -> None:
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(SourceInvalid, match=r"no \*\.safetensors.*pickle"):
        load(source)


def test_damaged_weights_are_named(source: Path) -> None:
    raw = (source / "model.safetensors").read_bytes()
    (source / "model.safetensors").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(SourceInvalid, match="cannot be loaded as GitForCausalLM"):
        load(source)


def test_missing_weights_are_not_made_up(source: Path) -> None:
    change(source / "config.json", num_hidden_layers=4)
    with pytest.raises(SourceInvalid, match=r"lacks the weights git\.encoder\.layer\.3"):
        load(source)


@pytest.mark.parametrize(
    "name, message",
    [
        ("config.json", "cannot be read"),
        ("tokenizer.json", "no tokenizer.json; write one"),
        ("preprocessor_config.json", "no preprocessor_config.json"),
    ],
)
def test_a_missing_file_is_named(source: Path, name: str, message: str) -> None:
    (source / name).unlink()
    with pytest.raises(SourceInvalid, match=message):
        load(source)


def test_too_large_a_vocabulary_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_model, "MAX_VOCABULARY", 20)
    with pytest.raises(SourceInvalid, match=r"vocabulary of 18, more than the 17"):
        load(source)


def test_more_caches_than_a_bundle_has_are_refused(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_model, "MAX_CACHES", 2)
    with pytest.raises(SourceInvalid, match="keeps 3 layers"):
        load(source)


def test_the_license_comes_from_the_model_card(source: Path) -> None:
    assert load(source).license == ""
    (source / "README.md").write_text("---\nlicense: mit\ntags:\n- captions\n---\nA model.\n")
    assert load(source).license == "mit"

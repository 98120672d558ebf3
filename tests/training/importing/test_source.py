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
from aiflow.common.greedy import END
from aiflow.training.importing import model as foreign_model
from aiflow.training.importing.decoder import SHIFT
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


@pytest.mark.parametrize(
    "name", ["config.json", "generation_config.json", "preprocessor_config.json"]
)
@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b'"text"', b"\xff\xfe{}", b"null"])
def test_a_file_that_is_no_json_object_is_named(source: Path, name: str, content: bytes) -> None:
    (source / name).write_bytes(content)
    with pytest.raises(SourceInvalid, match=rf"{name} (cannot be read|holds no JSON object)"):
        load(source)


def test_a_byte_order_mark_changes_nothing(source: Path) -> None:
    path = source / "preprocessor_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(source).name == "git"


BAD_STD: list[object] = [0, [0.5, 0.0, 0.5], "0.5", None, [0.5, 0.5]]
BAD_MEAN: list[object] = [[0.5] * 4, [], [None] * 3, {}]
BAD_SCALE: list[object] = ["1/255", None, []]


@pytest.mark.parametrize(
    "facts",
    [
        *({"image_std": value} for value in BAD_STD),
        *({"image_mean": value} for value in BAD_MEAN),
        *({"rescale_factor": value} for value in BAD_SCALE),
        {"image_processor": [1]},
    ],
)
def test_preprocessing_that_cannot_be_is_named(source: Path, facts: dict[str, Any]) -> None:
    change(source / "preprocessor_config.json", **facts)
    name = "|".join(facts)
    with pytest.raises(SourceInvalid, match=rf"({name}).*preprocessor_config|config\.json.*{name}"):
        load(source)


def test_one_number_is_for_all_channels(source: Path) -> None:
    change(source / "preprocessor_config.json", image_mean=[0.5], image_std=0.25)
    foreign = load(source)
    assert foreign.vision.gain.flatten().tolist() == pytest.approx([1 / 255 / 0.25] * 3)
    assert foreign.vision.offset.flatten().tolist() == pytest.approx([-2.0] * 3)


def test_a_model_of_one_channel_is_refused(tmp_path: Path) -> None:
    import transformers  # noqa: PLC0415

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = {**sizes, "image_size": 32, "intermediate_size": 8, "num_channels": 1}
    config = transformers.GitConfig(
        vision_config=vision,
        **sizes,
        intermediate_size=8,
        vocab_size=9,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    transformers.GitForCausalLM(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"image_mean": 0.5, "image_std": 0.5}')
    with pytest.raises(SourceInvalid, match=r"num_channels .* is 1"):
        load(tmp_path)


@pytest.mark.parametrize("ends, message", [(99, "names the token 99"), ([3, "4"], "eos_token_id")])
def test_ends_that_cannot_be_are_named(source: Path, ends: object, message: str) -> None:
    change(source / "generation_config.json", eos_token_id=ends)
    with pytest.raises(SourceInvalid, match=message):
        load(source)


def test_a_caption_ends_with_any_of_its_ends(source: Path) -> None:
    """In the decoder that is exported, and in what it is held against."""
    import torch  # noqa: PLC0415

    def captions() -> list[list[int]]:
        foreign = load(source)
        with torch.no_grad():
            draw = torch.Generator().manual_seed(3)
            said = foreign.caption(torch.randn(24, foreign.tokens, foreign.hidden, generator=draw))
        return list(said)

    before = captions()
    often = max(range(4, 17), key=lambda own: sum(own + SHIFT in line for line in before))
    change(source / "generation_config.json", eos_token_id=[3, often])
    after = captions()
    assert any(often + SHIFT in line for line in before)
    assert not any(often + SHIFT in line for line in after)
    cut = [line.index(often + SHIFT) for line in before if often + SHIFT in line]
    ended = [line for line, was in zip(after, before, strict=True) if often + SHIFT in was]
    assert [line.index(END) for line in ended] == cut
    assert load(source)._architecture.ids.ends == (3, often)


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


@pytest.mark.parametrize(
    "card, found",
    [
        (b"---\nlicense: mit\n---\nby Andr\xe9\n", "mit"),
        (b"\xef\xbb\xbf---\r\nlicense: [mit, other]\r\n---\r\n", "mit, other"),
        (b"---\nlicense: [unclosed\n---\n", ""),
        (b"---\n- a list\n---\n", ""),
        (b"---\nlicense:\n---\n", ""),
        (b"no header", ""),
    ],
)
def test_a_model_card_of_any_kind_is_understood_or_left_out(
    source: Path, card: bytes, found: str, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "README.md").write_bytes(card)
    assert load(source).license == found
    assert ("README.md cannot be read" in caplog.text) is (b"unclosed" in card)

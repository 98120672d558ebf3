"""Tiny captioners of each architecture, made from their config classes and saved as on the hub.

Their weights are random, drawn wide enough that captions differ by picture and some of them end,
and rounded to float16, so that a bundle, which stores them so, computes with the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SIDE, PATCH = 32, 8
WORDS = ["a", "cat", "dog", "on", "the", "red", "mat", "##s", "##ing", "run", "sit", "in", "of"]
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]

Maker = Callable[[Path], Any]


def _vision(transformers_config: type, **more: Any) -> Any:
    return transformers_config(
        hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=PATCH,
        **more,
    )


def _bytes_tokenizer() -> Tokenizer:
    """As GPT-2's: its one special token is begin, end and padding, and comes last."""
    vocabulary = {letter: own for own, letter in enumerate("Ġ.abcdefghijklmnopqrst")}
    vocabulary["<|endoftext|>"] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer


def _word_pieces(*more: str) -> Tokenizer:
    """As BERT's; `more` special tokens are added after the vocabulary, as BLIP has one."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {word: own for own, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.add_special_tokens([*special, *more])
    tokenizer.add_tokens([AddedToken("zebra")])
    return tokenizer


def vit_gpt2(folder: Path, seed: int = 5) -> Any:
    import transformers as hf  # noqa: PLC0415

    tokenizer = _bytes_tokenizer()
    last = tokenizer.get_vocab_size() - 1
    text = hf.GPT2Config(
        vocab_size=last + 1,
        n_embd=16,  # other than the vision model's: a projection lies between them
        n_layer=2,
        n_head=4,
        n_positions=20,
        bos_token_id=last,
        eos_token_id=last,
        add_cross_attention=True,
        is_decoder=True,
        scale_attn_by_inverse_layer_idx=True,
    )
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(_vision(hf.ViTConfig), text)
    model = hf.VisionEncoderDecoderModel(config)
    model.generation_config = hf.GenerationConfig(
        decoder_start_token_id=last,
        eos_token_id=last,
        pad_token_id=last,
        num_beams=4,
        max_length=13,
    )
    return _save(folder, model, tokenizer, seed)


def blip(folder: Path, seed: int = 6) -> Any:
    import transformers as hf  # noqa: PLC0415

    tokenizer = _word_pieces("[DEC]")
    size = tokenizer.get_vocab_size()
    text = hf.BlipTextConfig(
        vocab_size=size + 1,  # one that the tokenizer does not know, as BLIP has it
        hidden_size=16,
        encoder_hidden_size=24,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=tokenizer.token_to_id("[DEC]"),
        eos_token_id=2,
        sep_token_id=3,
        pad_token_id=0,
    )
    config = hf.BlipConfig(
        text_config=text.to_dict(), vision_config=_vision(hf.BlipVisionConfig).to_dict()
    )
    return _save(folder, hf.BlipForConditionalGeneration(config), tokenizer, seed)


def git(folder: Path, seed: int = 2) -> Any:
    import transformers as hf  # noqa: PLC0415

    config = hf.GitConfig(
        vision_config=_vision(hf.GitVisionConfig).to_dict(),
        vocab_size=_word_pieces().get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=30,
        bos_token_id=2,
        eos_token_id=3,
        pad_token_id=0,
    )
    return _save(folder, hf.GitForCausalLM(config), _word_pieces(), seed)


MAKERS: dict[str, Maker] = {"vit_gpt2": vit_gpt2, "blip": blip, "git": git}


def _save(folder: Path, model: Any, tokenizer: Tokenizer, seed: int) -> Any:
    import torch  # noqa: PLC0415

    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                wide = 1.0 if "embed" in name or "wte" in name or "wpe" in name else 0.35
                weight.normal_(std=wide, generator=draw)
            elif name.endswith("bias"):
                weight.normal_(std=0.1, generator=draw)
            weight.copy_(weight.half().float())
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": MEAN, "image_std": STD, "size": {"height": SIDE, "width": SIDE}})
    )
    return model.eval()


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine the threads of so small models wait for each other most of the time."""
    torch = pytest.importorskip("torch", reason="needs the extra import")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of a saved model by its architecture."""
    pytest.importorskip("transformers", reason="needs the extra import")
    found = {}
    for name, make in MAKERS.items():
        found[name] = tmp_path_factory.mktemp(name) / name
        make(found[name])
    return found

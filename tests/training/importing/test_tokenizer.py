"""Tokenizers of every kind keep their tokens, three ids further on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

pytest.importorskip("torch", reason="needs the extra import")

from aiflow.common.errors import SourceInvalid
from aiflow.common.greedy import END, START, VISUAL
from aiflow.training.importing.tokenizer import shifted

WORDS = {"[PAD]": 0, "[END]": 1, "red": 2, "cat": 3, "##s": 4}


def word_level() -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[PAD]"))
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(WORDS, unk_token="[PAD]"))
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.post_processor = processors.BertProcessing(("[END]", 1), ("[PAD]", 0))
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    tokenizer.enable_truncation(8)
    return tokenizer


def byte_pairs() -> Tokenizer:
    vocabulary = {"[PAD]": 0, "[END]": 1, "c": 2, "a": 3, "Ġ": 4, "ca": 5, "Ġca": 6}
    merges = [("c", "a"), ("Ġ", "ca")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def unigram() -> Tokenizer:
    pieces = [("[PAD]", 0.0), ("[END]", 0.0), ("▁red", -1.0), ("▁cat", -2.0), ("s", -3.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, 0, False))
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def test_blanks_at_the_ends_are_left_out(tmp_path: Path) -> None:
    byte_pairs().save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.from_str(shifted(tmp_path / "tokenizer.json"))
    assert ours.decode([9, 7, 9, 7, 7]) == "ca  ca"
    assert ours.decode([7]) == ours.decode([]) == ""


@pytest.mark.parametrize("make", [word_level, word_piece, byte_pairs, unigram])
def test_the_text_of_shifted_ids_is_the_text_of_the_models_own(
    make: Callable[[], Tokenizer], tmp_path: Path
) -> None:
    own = make()
    own.add_special_tokens(["[PAD]", "[END]", "[DEC]"])
    own.add_tokens([AddedToken("zebra")])
    own.save(str(tmp_path / "tokenizer.json"))
    ours = Tokenizer.from_str(shifted(tmp_path / "tokenizer.json"))
    size = own.get_vocab_size()
    assert ours.get_vocab_size() == size + 3
    assert [ours.id_to_token(n + 3) for n in range(size)] == [
        own.id_to_token(n) for n in range(size)
    ]
    everything = list(range(size))
    text = own.decode(everything)
    said = ours.decode([VISUAL, START, *(n + 3 for n in everything), END])
    assert said == text.strip()
    assert "zebra" in text
    assert "[" not in text


def test_a_missing_tokenizer_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match="save_pretrained"):
        shifted(tmp_path / "tokenizer.json")


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "Nonsense"}}))
    with pytest.raises(SourceInvalid, match="no tokenizer that can be read"):
        shifted(tmp_path / "tokenizer.json")

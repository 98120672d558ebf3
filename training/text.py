"""The tokenizer: one token for each phrase of the street's grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from aiflow.common.greedy import END
from aiflow.street.grammar.phrases import INVENTORY

FACT_CLASSES = ("time", "weather", "setting", "count", "colour", "kind", "motion")
SPECIAL = ("<visual>", "<start>", "<end>", "<unknown>")


def build_tokenizer(phrases: Sequence[str]) -> Tokenizer:
    """Build a word-level tokenizer whose words are `phrases`; the longest one that fits wins."""
    vocabulary = {word: index for index, word in enumerate((*SPECIAL, *phrases))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL[3]))
    longest_first = sorted(phrases, key=len, reverse=True)
    pattern = "|".join(_bounded(phrase) for phrase in longest_first)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(pattern + r"|\S+"), behavior="removed", invert=True
    )
    # WordPiece puts blanks between words and closes up commas and full stops, but not colons.
    tokenizer.decoder = decoders.Sequence(
        [decoders.WordPiece(prefix="##", cleanup=True), decoders.Replace(" :", ":")]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _bounded(phrase: str) -> str:
    """Match a phrase at word boundaries only."""
    left = r"\b" if phrase[0].isalnum() else ""
    right = r"\b" if phrase[-1].isalnum() else ""
    return left + re.escape(phrase) + right


def encode_captions(
    tokenizer: Tokenizer, captions: Sequence[str], max_tokens: int
) -> NDArray[np.int16]:
    """Token ids int16 (N, max_tokens), ended and padded with 0; raises ValueError if one is cut."""
    rows = np.zeros((len(captions), max_tokens), np.int16)
    for row, encoding in enumerate(tokenizer.encode_batch(list(captions))):
        ids = [*encoding.ids, END]
        if len(ids) > max_tokens:
            raise ValueError(f"caption of {len(ids)} tokens exceeds {max_tokens}: {captions[row]}")
        rows[row, : len(ids)] = ids
    return rows


def meanings(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """Class and value of the fact that each token states, -1 where it states none.

    Places are left out: one place can be said in absolute terms or by a relation, so that
    choosing between two of them is a matter of style.
    """
    known = INVENTORY.meanings
    kinds: list[int] = []
    values: list[int] = []
    order: dict[tuple[str, str], int] = {}
    for token in range(tokenizer.get_vocab_size()):
        stated = [
            m for m in known.get(tokenizer.id_to_token(token) or "", ()) if m[0] in FACT_CLASSES
        ]
        if not stated:
            kinds.append(-1)
            values.append(-1)
            continue
        kinds.append(FACT_CLASSES.index(stated[0][0]))
        values.append(order.setdefault(stated[0], len(order)))
    return kinds, values

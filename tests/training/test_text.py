from __future__ import annotations

import numpy as np
import pytest

from aiflow.common.greedy import END
from aiflow.street.grammar import describe, phrases
from aiflow.street.world import street
from aiflow.training.text import FACT_CLASSES, build_tokenizer, encode_captions, meanings


def test_captions_survive_the_tokenizer() -> None:
    tokenizer, world, rng = build_tokenizer(phrases()), street(), np.random.default_rng(1)
    for _ in range(300):
        text = describe(world.sample(rng), rng)
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_encoded_captions_end_with_the_end_token_and_are_padded() -> None:
    tokenizer = build_tokenizer(phrases())
    text = describe(street().sample(np.random.default_rng(1)))
    (row,) = encode_captions(tokenizer, [text], 72)
    length = len(tokenizer.encode(text).ids)
    assert row[length] == END
    assert (row[length + 1 :] == 0).all()
    with pytest.raises(ValueError, match="exceeds"):
        encode_captions(tokenizer, [text], length)


def test_synonyms_share_a_meaning_and_places_have_none() -> None:
    tokenizer = build_tokenizer(phrases())
    kind, value = meanings(tokenizer)
    of = {word: (kind[i], value[i]) for word, i in tokenizer.get_vocab().items()}
    assert of["car"] == of["cars"]
    assert of["red"][0] == of["blue"][0] == FACT_CLASSES.index("colour")
    assert of["red"] != of["blue"]
    assert of["behind it"] == (-1, -1)

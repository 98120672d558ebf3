"""The model's tokenizer with ids as the captioner has them: shifted past our own three."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from aiflow.common.errors import SourceInvalid
from aiflow.training.foreign.decoder import SHIFT

_OURS: Final = ("<|aiflow visual|>", "<|aiflow start|>", "<|aiflow end|>")


def shifted(path: Path) -> str:
    """Return the text of a tokenizer.json whose ids are those of `path`, plus SHIFT.

    It is for decoding: what encoding alone needs (padding, added special tokens) is left out.
    Raises SourceInvalid.
    """
    if not path.is_file():
        raise SourceInvalid(
            f"{path.parent} has no tokenizer.json; write one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        before = Tokenizer.from_file(str(path))
        text = json.dumps(_shift(raw), ensure_ascii=False)
        after = Tokenizer.from_str(text)
    except Exception as exc:  # the tokenizers library raises plain Exception
        raise SourceInvalid(f"{path} is no tokenizer that can be read: {exc}") from exc
    for token, own in before.get_vocab().items():
        if after.id_to_token(own + SHIFT) != token:
            raise SourceInvalid(
                f"{path} gives its token {token!r} an id that depends on the others; save it anew "
                "with a current version of transformers"
            )
    return text


def _shift(raw: dict[str, Any]) -> dict[str, Any]:
    model = raw["model"]
    if isinstance(model["vocab"], dict):
        vocabulary = {token: own + SHIFT for token, own in model["vocab"].items()}
        model["vocab"] = dict(zip(_OURS, range(SHIFT), strict=True)) | vocabulary
    else:  # Unigram: a list, whose places are the ids
        model["vocab"] = [*([token, 0.0] for token in _OURS), *model["vocab"]]
        if model.get("unk_id") is not None:
            model["unk_id"] += SHIFT
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    raw["added_tokens"] = [
        *(
            {"id": own, "content": token, "special": True} | plain
            for own, token in enumerate(_OURS)
        ),
        *(token | {"id": token["id"] + SHIFT} for token in raw.get("added_tokens", [])),
    ]
    return raw | {"post_processor": None, "padding": None, "truncation": None}

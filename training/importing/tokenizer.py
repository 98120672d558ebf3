"""The model's tokenizer with ids as the captioner has them: shifted past our own three."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tokenizers import Tokenizer

from aiflow.common.errors import SourceInvalid
from aiflow.training.importing.decoder import SHIFT

_OURS: Final = ("<|aiflow visual|>", "<|aiflow start|>", "<|aiflow end|>")


def shifted(path: Path) -> str:
    """Return the text of a tokenizer.json whose ids are those of `path`, plus SHIFT.

    It is for decoding: what encoding alone needs (padding, added special tokens) is left out, and
    the text loses the blanks at its ends.
    Raises SourceInvalid.
    """
    if not path.is_file():
        raise SourceInvalid(
            f"{path.parent} has no tokenizer.json; write one with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return str(Tokenizer.from_str(json.dumps(_shift(raw))).to_str())
    except Exception as exc:  # the tokenizers library raises plain Exception
        raise SourceInvalid(f"{path} is no tokenizer that can be read: {exc}") from exc


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
    if raw.get("decoder") is not None:
        # GPT-2 says the blank before a full stop that never comes.
        ends = {"type": "Replace", "pattern": {"Regex": r"\A\s+|\s+\z"}, "content": ""}
        raw["decoder"] = {"type": "Sequence", "decoders": [raw["decoder"], {"type": "Fuse"}, ends]}
    return raw | {"post_processor": None, "padding": None, "truncation": None}

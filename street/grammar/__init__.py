"""Scenes into captions, and captions back into facts."""

from __future__ import annotations

from aiflow.street.grammar.parser import parse
from aiflow.street.grammar.phrases import INVENTORY, join
from aiflow.street.grammar.writer import describe, describe_phrases, references

__all__ = ["describe", "describe_phrases", "join", "parse", "phrases", "references", "split"]


def phrases() -> tuple[str, ...]:
    """All indivisible phrases, sorted: a tokenizer may hold one token for each."""
    return tuple(sorted(INVENTORY.meanings))


def split(text: str) -> list[str]:
    """Cut a caption into phrases; `join` puts them together. Unknown words are dropped."""
    return INVENTORY.split(text)

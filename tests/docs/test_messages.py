"""What docs/troubleshooting.md quotes of a program, one says; and the page knows every counter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from aiflow.common import catalogue, errors
from aiflow.edge.dashboard.troubles import ALARMS
from commands import ROOT

PAGE: Final = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
FOLDERS: Final = ("cli", "client", "cloud", "common", "device", "edge")


def _words(text: str) -> str:
    """Without signs, and what is filled in left out."""
    return re.sub(r"\W+", " ", re.sub(r"%[a-z]", " ", text)).strip()


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    return "…"


def _texts() -> Iterator[str]:
    """All texts in the code, and a script as it is."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_bytes())):
                if isinstance(node, ast.Constant | ast.JoinedStr):
                    yield _text(node)
    yield (ROOT / "scripts" / "setup").read_text(encoding="utf-8")


@cache
def _said() -> str:
    """Every text in one, signs and spaces made alike."""
    return "\n".join(f" {_words(text)} " for text in _texts())


def _messages() -> list[str]:
    """What stands in italics: on that page, words of a program and nothing else."""
    return re.findall(r"(?<![*\w])\*([^*\n]+)\*(?!\*)", PAGE)


def test_messages_are_found() -> None:
    assert {"unknown key", "lost the connection"} <= set(_messages())


def test_each_message_is_one_of_the_programs() -> None:
    unknown = [
        message
        for message in _messages()
        for part in re.split("…|TOPIC", message)
        if (words := _words(part)) and f" {words} " not in _said()
    ]
    assert unknown == []


def test_each_counter_of_faults_is_explained() -> None:
    explained = PAGE.partition("## A counter of faults rises")[2]
    faults = {
        name for name in catalogue.CATALOGUE if re.search("fault|error|failure|dropped", name)
    }
    missing = [name for name in sorted(faults | set(ALARMS)) if f"`{name}`" not in explained]
    assert missing == ["aiflow_orders_dropped_total"]


def test_each_kind_of_bad_payload_is_explained() -> None:
    explained = PAGE.partition("## A counter of faults rises")[2]
    reasons = [kind.reason for kind in errors.PayloadError.__subclasses__()]
    assert [reason for reason in reasons if f"`{reason}`" not in explained] == []

"""Every option that the documents name is one of the command's own."""

from __future__ import annotations

import re
from typing import Any, Final

import typer

import commands
from aiflow.cli.commands import app
from commands import ROOT, SHELL


def _options() -> dict[tuple[str, ...], set[str]]:
    """Options of each command of `aiflow`, as its --help lists them, by its words."""
    found: dict[tuple[str, ...], set[str]] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        found[words] = {"--help"} | {
            option for part in command.params for option in (*part.opts, *part.secondary_opts)
        }
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*words, name))

    walk(typer.main.get_command(app), ("aiflow",))
    return found


OPTIONS: Final = _options()


def _script_options(name: str) -> set[str]:
    """Of a script: those that its text names, and those of what it hands its options to."""
    text = (ROOT / "scripts" / name).read_text(encoding="utf-8")
    handed = OPTIONS["aiflow", "demo"] if name == "demo" else set[str]()
    if name == "train":
        text += (ROOT / "training" / "run.py").read_text(encoding="utf-8")
    return handed | set(re.findall(r"--[a-z][a-z-]*", text))


def _unknown_options(call: list[str]) -> set[str]:
    given = {word.split("=")[0] for word in call if re.match(r"--[a-z]", word)}
    if call[0].startswith("scripts/"):
        return given - _script_options(call[0].removeprefix("scripts/"))
    if call[0] != "aiflow":
        return set()
    words = tuple(call)
    while words not in OPTIONS:
        words = words[:-1]
    return given - OPTIONS[words]


def test_options_in_the_documents_are_those_of_help() -> None:
    said = [(block.page, text) for block in commands.blocks(*SHELL) for text in block.commands()]
    wrong = [
        f"{page}: {text}: {', '.join(unknown)}"
        for page, text in (*said, *commands.spans())
        for call in commands.calls(text)
        if (unknown := _unknown_options(call))
    ]
    assert wrong == []


def test_options_by_themselves_are_some_commands() -> None:
    ours = set[str]().union(*OPTIONS.values())
    for script in (ROOT / "scripts").iterdir():
        ours |= _script_options(script.name)
    foreign = {"--system-site-packages", "--strict"}
    wrong = [
        f"{page}: {text}"
        for page, text in commands.spans()
        if (option := re.match(r"--[a-z][a-z-]*(?!\w)", text)) and option[0] not in ours | foreign
    ]
    assert wrong == []

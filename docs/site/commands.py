"""Finds what the documents tell people to type: commands of shell blocks, programs in Python.

A block that cannot be tried on any machine says so in a comment above it, which no reader sees:

    <!-- needs: a Raspberry Pi with a camera -->
    ```sh
    sudo apt install python3-picamera2
    ```
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK: Final = re.compile(
    r"(?:^ *<!-- needs: (?P<needs>[^>]+) -->\n+)?"
    r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)
SHELL: Final = {"sh", "bash", "shell", "console"}
SPAN: Final = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
COMMENT: Final = re.compile(r"(^|\s+)# .*$")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block: where it begins, its language, its text, and what trying it would need."""

    page: str
    line: int
    language: str
    text: str
    needs: str | None

    def commands(self) -> list[str]:
        """Its lines, without comments and prompts' worth of indentation; a backslash joins two."""
        joined = self.text.replace("\\\n", " ")
        stripped = (COMMENT.sub("", line).strip() for line in joined.splitlines())
        return [line for line in stripped if line]


def blocks(*languages: str) -> Iterator[CodeBlock]:
    """All blocks in one of these languages, page by page."""
    for path in PAGES:
        page = path.read_text(encoding="utf-8")
        for found in BLOCK.finditer(page):
            if found["language"] in languages:
                line = page.count("\n", 0, found.start("language")) + 1
                text = textwrap.dedent(found["text"])
                name = str(path.relative_to(ROOT))
                yield CodeBlock(name, line, found["language"], text, found["needs"])


def spans() -> Iterator[tuple[str, str]]:
    """(page, text) of everything set as code inside a sentence or a table."""
    for path in PAGES:
        prose = BLOCK.sub("", path.read_text(encoding="utf-8"))
        for found in SPAN.finditer(prose):
            yield str(path.relative_to(ROOT)), found[1]


def calls(command: str) -> Iterator[list[str]]:
    """The programs that a line starts, each as its words; what stands before `aiflow` is gone."""
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;()<>")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:  # a quotation mark in prose
        return
    call: list[str] = []
    for word in [*words, "|"]:
        if set(word) <= set("|&;()<>"):
            if call:
                yield call
            call = []
        elif word == "aiflow" or word.endswith("/bin/aiflow"):
            call = ["aiflow"]  # after sudo, env and variables
        else:
            call.append(word)

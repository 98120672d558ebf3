"""The page that walks one frame from lens to receipt names files that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-it-works.md"


def _named() -> list[str]:
    """The files of the walk without the cloud's steps, each once, in the order of the page."""
    page = PAGE.read_text(encoding="utf-8").partition("## In the cloud")[0]
    return list(dict.fromkeys(re.findall(r"`((?:device|edge|common)/[\w/]+\.py)`", page)))


def _imports(path: str) -> set[str]:
    """Files of ours that a file imports."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiflow."):
            found.add("/".join(str(node.module).split(".")[1:]) + ".py")
    return found


def test_every_file_of_the_walk_is_there() -> None:
    named = _named()
    assert [path for path in named if not (ROOT / path).is_file()] == []
    assert len(named) <= 33


def test_every_file_of_the_walk_hangs_together_with_another_one() -> None:
    """Each is imported by one of the walk, or is where a thread or a process begins."""
    begins = {"device/camera/child.py", "device/daemon.py", "edge/node.py"}
    named = _named()
    imported = set().union(*(_imports(path) for path in named))
    front = {"common/payload.py"}  # by way of common/wire.py
    assert set(named) - imported - begins - front == set()

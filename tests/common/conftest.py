"""The worked examples of docs/wire.md: they are the golden bytes of the wire format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def wire_page() -> dict[str, bytes]:
    """Name and bytes of each block ```hex NAME; what follows two blanks in a line is comment."""
    page = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```hex ([\w-]+)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    examples = {
        name: bytes.fromhex(" ".join(line.split("  ")[0] for line in block.splitlines()))
        for name, block in blocks
    }
    assert len(examples) == len(blocks), "two examples of one name"
    return examples

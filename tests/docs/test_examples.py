"""Programs in the documents run as they are written; those of docs/python.md in tests/system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

import commands
from commands import CodeBlock

TESTED: Final = {"docs/python.md": "tests/system/test_client.py"}
"""Pages whose programs need a whole system: a test that runs all that it finds there."""
HERE: Final = [block for block in commands.blocks("python") if block.page not in TESTED]


@pytest.mark.parametrize("page, test", TESTED.items())
def test_programs_of_a_page_are_run_by_its_test(page: str, test: str) -> None:
    assert f'blocks("{Path(page).name}", "python")' in (commands.ROOT / test).read_text("utf-8")


@pytest.mark.parametrize("block", [pytest.param(one, id=f"{one.page}:{one.line}") for one in HERE])
def test_a_program_runs(block: CodeBlock, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "my-encoder.tflite").write_bytes(b"any bytes have a hash")
    done = subprocess.run(
        [sys.executable, "-P", "-c", block.text],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout

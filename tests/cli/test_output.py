from __future__ import annotations

import json
from pathlib import Path

import pytest

from aiflow.cli.output import check_writable, write_json
from aiflow.common.errors import ConfigError


def test_json_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    for content in ({"captions": [1]}, {"summary": "é"}):
        check_writable(path)
        write_json(path, content)
        assert json.loads(path.read_text(encoding="utf-8")) == content


def test_a_place_that_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "no" / "folder.json"):
        with pytest.raises(ConfigError, match="cannot be written"):
            check_writable(path)


def test_a_fault_while_writing_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        write_json(tmp_path / "no" / "folder.json", {})

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from aiflow.cli import main


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that is whole on paper: its files hold anything."""
    (tmp_path / "encoder.onnx").write_bytes(b"weights")
    decoder = {
        "layers": 2, "heads": 2, "width": 64, "vocabulary": 100, "max_tokens": 40,
        "input_layers": 1, "parameters": 123_456, "calibration": [{}],
    }  # fmt: skip
    manifest = {
        "format": 1, "name": "toy", "version": "1.2", "license": "Apache-2.0",
        "description": "a toy for tests",
        "encoder": {
            "width": 96, "height": 96, "tokens": 14, "dims": 6, "levels": [5, 5, 5, 5, 5, 5],
            "layers": [7, 14], "macs": 43_000_000, "parameters": 1_000_000,
        },
        "decoders": {"edge": decoder},
        "escalate_below": 0.8, "roles": {"encoder_onnx": "encoder.onnx"},
        "sha256": {"encoder.onnx": hashlib.sha256(b"weights").hexdigest()},
        "training": {"images": 1000}, "figures": {"fact_f1": {"edge": 0.912345}},
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_info_describes_a_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bundle", "info", str(bundle)]) == 0
    text = capsys.readouterr().out
    for words in (
        "toy 1.2 (Apache-2.0)",
        "a toy for tests",
        "14 tokens of 6",
        "fact_f1: edge 0.91",
    ):
        assert words in text


def test_info_for_programs(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bundle", "info", str(bundle), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["id"] == hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    assert facts["size_bytes"] == len(b"weights")
    assert facts["manifest"]["encoder"]["tokens"] == 14


def test_verify_says_what_is_whole(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bundle", "verify", str(bundle)]) == 0
    assert "is whole: 1 files" in capsys.readouterr().out
    assert main.run(["bundle", "verify", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["encoder.onnx"]


def test_verify_names_the_file_that_was_changed(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / "encoder.onnx").write_bytes(b"Weights")
    assert main.run(["bundle", "verify", str(bundle)]) == 1
    written = capsys.readouterr()
    assert "encoder.onnx was changed" in written.err
    assert written.err.count("\n") == 1


def test_a_bundle_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bundle", "verify", "nowhere"]) == 1
    assert "no bundle 'nowhere'" in capsys.readouterr().err


def test_the_list_can_be_read_by_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["bundle", "list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)
    assert main.run(["bundle", "list"]) == 0
    assert capsys.readouterr().out.startswith("name ")


def test_an_import_without_its_packages_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own: others may have loaded them here."""
    command = ["bundle", "import", "model", "--images", str(tmp_path), "--out", "out"]
    code = (
        "import sys; sys.modules['torch'] = None; from aiflow.cli import main; "
        f"sys.exit(main.run({command!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "importing a model needs torch" in done.stderr
    assert "aiflow-edge[import]" in done.stderr
    assert done.stderr.count("\n") == 1

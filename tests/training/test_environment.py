from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiflow.common.errors import RuntimeUnavailable
from aiflow.training import environment


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], folder: Path) -> None:
        commands.append(command)
        program = folder / "bin" / "python"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.touch()

    monkeypatch.setattr(environment, "_run", run)
    folder = tmp_path / "venv"
    program = environment.ready(folder, ["one==1"])
    assert program == folder / "bin" / "python"
    assert [command[0] for command in commands] == [sys.executable, str(program)]
    assert commands[1][-2:] == ["install", "one==1"]
    environment.ready(folder, ["one==1"])
    assert len(commands) == 2
    environment.ready(folder, ["one==2"])
    assert len(commands) == 4


def test_what_cannot_be_made_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"cannot be made: .*No such file"):
        environment.ready(tmp_path / "venv", [], python=str(tmp_path / "python"))
    with pytest.raises(RuntimeUnavailable, match="cannot be made: the last words"):
        environment._run(["sh", "-c", "echo first; echo the last words >&2; exit 1"], tmp_path)


def test_the_package_alone_is_offered(tmp_path: Path) -> None:
    code = "import aiflow.common.errors, sys; print(aiflow.__file__); import pydantic"
    with environment.package_path() as path:
        done = subprocess.run(
            [sys.executable, "-S", "-P", "-c", code],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.startswith(path)
    assert "No module named 'pydantic'" in done.stderr


def test_versions_of_the_converter_are_exact() -> None:
    packages = environment.requirements("litert.txt")
    assert {package.partition("==")[0] for package in packages} >= {"litert-torch", "torch"}
    assert all("==" in package for package in packages)
    with pytest.raises(RuntimeUnavailable, match=r"nothing\.txt cannot be read: No such file"):
        environment.requirements("nothing.txt")

"""The house rules that a machine can check: what may import what, and what is where."""

from __future__ import annotations

import ast
import configparser
import graphlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TIERS = {"device", "edge", "cloud"}
# Folders of the package, and which others each may import: tiers < rig < cli, bench.
MAY_IMPORT = {
    "common": {"common"},
    "device": {"common", "device", "street"},
    "edge": {"common", "edge"},
    "cloud": {"common", "cloud"},
    "client": {"client", "common"},
    "bundles": set[str](),
    # The drawn world. Of the tiers, the synthetic camera alone may draw it.
    "street": {"common", "street"},
    # Confidence is calibrated on what the device's own encoder gives.
    "training": {"common", "device", "street", "training"},
    "rig": {"client", "common", "rig", "street"},
    "cli": TIERS | {"bundles", "cli", "client", "common", "rig", "street", "training"},
    "bench": TIERS | {"bench", "bundles", "client", "common", "rig", "street", "training"},
}
BY_NAME = ("cli/bench_command.py", "bench/registry.py")
"""The one file that finds a benchmark, and where: by its name."""
NOT_OURS = {"build", "dist", "runs", "docs", "tests", "__pycache__"}


def _sources() -> list[Path]:
    """Every Python file of the package, relative to the root; not the tests."""
    top = [path.relative_to(ROOT) for path in ROOT.glob("*.py")]
    inside = [
        path.relative_to(ROOT)
        for folder in ROOT.iterdir()
        if folder.is_dir() and not folder.name.startswith(".") and folder.name not in NOT_OURS
        for path in folder.rglob("*.py")
    ]
    return sorted(top + inside)


def _imports(path: Path) -> Iterator[tuple[int, int, str]]:
    """(line, level, module) of every import in the file, those inside functions included.

    `from aiflow import x` yields `aiflow.x`: x may be a module.
    """
    for node in ast.walk(ast.parse((ROOT / path).read_bytes(), filename=str(path))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, 0, name.name
        elif isinstance(node, ast.ImportFrom):
            if node.module == "aiflow":
                for name in node.names:
                    yield node.lineno, node.level, f"aiflow.{name.name}"
            else:
                yield node.lineno, node.level, node.module or ""


def test_sources_are_found() -> None:
    found = {path.parts[0] for path in _sources()}
    assert set(MAY_IMPORT) <= found


def test_every_folder_of_code_has_its_rule() -> None:
    folders = {path.parts[0] for path in _sources() if len(path.parts) > 1}
    assert folders == set(MAY_IMPORT), "say in MAY_IMPORT what a new folder may import"


@pytest.mark.parametrize("path", _sources(), ids=str)
def test_imports_are_absolute_and_allowed(path: Path) -> None:
    wrong = []
    for line, level, module in _imports(path):
        if level:
            wrong.append(f"{path}:{line}: relative import; write aiflow.{path.parts[0]}...")
            continue
        parts = module.split(".")
        if len(path.parts) == 1 or parts[0] != "aiflow" or len(parts) == 1:
            continue
        if (str(path), f"{'/'.join(parts[1:])}.py") == BY_NAME:
            continue
        if parts[1] in MAY_IMPORT and parts[1] not in MAY_IMPORT[path.parts[0]]:
            wrong.append(f"{path}:{line}: {path.parts[0]} must not import {module}")
    assert not wrong, "\n".join(wrong)


def _graph() -> dict[str, set[str]]:
    """Each file, and the files that it imports; those that it only names for types among them."""
    files = {str(path) for path in _sources()}

    def file_of(module: str) -> str | None:
        if not module.startswith("aiflow."):  # http.client is not ours
            return None
        stem = "/".join(module.split(".")[1:])
        return next((one for one in (f"{stem}.py", f"{stem}/__init__.py") if one in files), None)

    graph: dict[str, set[str]] = {}
    for path in _sources():
        found: set[str | None] = set()
        for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
            if isinstance(node, ast.Import):
                found |= {file_of(name.name) for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                for name in node.names:
                    found.add(file_of(f"{node.module}.{name.name}") or file_of(node.module))
        graph[str(path)] = {one for one in found if one is not None}
    graph[BY_NAME[0]].discard(BY_NAME[1])
    return graph


def test_nothing_reaches_up_by_way_of_others() -> None:
    graph = _graph()
    for start in graph:
        folder, reached, waiting = start.split("/")[0], set[str](), [start]
        while waiting:
            found = graph[waiting.pop()] - reached
            reached |= found
            waiting += found
        beyond = {one for one in reached if one.split("/")[0] not in MAY_IMPORT.get(folder, set())}
        assert folder not in MAY_IMPORT or not {one for one in beyond if "/" in one}, start


def test_no_circle_of_files() -> None:
    try:
        graphlib.TopologicalSorter(_graph()).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these import each other: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("path", _sources(), ids=str)
def test_nothing_is_imported_past_the_package(path: Path) -> None:
    # `import common.wire` works from the repository root by accident, and nowhere else.
    folders = {*MAY_IMPORT, "tests"}
    wrong = [
        f"{path}:{line}: {module}"
        for line, _, module in _imports(path)
        if module.split(".")[0] in folders
    ]
    assert not wrong, "\n".join(wrong)


def test_setup_cfg_lists_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = config["options"]["packages"].split()
    assert listed == sorted(set(listed)), "keep the list sorted, each package once"
    present = {
        ".".join(("aiflow", *path.parent.parts))
        for path in _sources()
        if path.name == "__init__.py"
    }
    assert set(listed) == present


def test_every_folder_with_code_is_a_package() -> None:
    bare = {
        str(path.parent) for path in _sources() if not (ROOT / path.parent / "__init__.py").exists()
    }
    assert bare - {"scripts"} == set()


def test_no_module_is_a_drawer_of_odds_and_ends() -> None:
    drawers = {"util", "utils", "helper", "helpers", "misc", "tools", "shared"}
    assert [str(path) for path in _sources() if drawers & {path.stem, *path.parts}] == []


def test_there_is_no_top_level_folder_called_aiflow() -> None:
    # It would shadow the package for everything started from the root.
    assert not (ROOT / "aiflow").exists()


def test_tests_mirror_the_code() -> None:
    own = {"browser", "docs", "system", "vectors", "faults", "homeassistant", "__pycache__"}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    assert folders - own <= set(MAY_IMPORT)
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("path", [*sorted((ROOT / "scripts").iterdir()), ROOT / ".ci" / "run"])
def test_scripts_are_executable(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert path.read_bytes().startswith(b"#!/usr/bin/env ")

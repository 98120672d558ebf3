"""What the extra `device` takes on the disk, by package: the installed files of all that it needs.

aiflow-edge[device] ─> what it requires ─> what that requires ...   each with its files' bytes
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import aiflow
from aiflow.common.errors import AiflowError

PACKAGE: Final = "aiflow-edge"
EXTRA: Final = "device"


def installed_mb() -> dict[str, float]:
    """MB (10⁶ bytes) by package, the largest first; compiled modules are counted.

    Raises AiflowError when something that the extra needs is not installed.
    """
    sizes = {name: _files_mb(one) for name, one in _needed().items()}
    # Installed in place, its files are not listed.
    sizes[PACKAGE] = package_mb(Path(aiflow.__file__).parent)
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def package_mb(folder: Path) -> float:
    """Of a package that may be a checkout as well, whose other folders are none of it."""
    inside = [one for one in folder.iterdir() if one.is_dir() and (one / "__init__.py").is_file()]
    beside = [*folder.glob("*.py"), *folder.glob("__pycache__/*")]
    paths = [*beside, *(path for one in inside for path in one.rglob("*"))]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def _needed() -> dict[str, Distribution]:
    """All that the extra requires on this machine, itself included."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(PACKAGE, frozenset({EXTRA}))]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError as error:
            raise AiflowError(
                f"{name} is not installed: pip install '{PACKAGE}[{EXTRA}]'"
            ) from error
        for requirement in map(Requirement, found[name].requires or ()):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": one}) for one in ("", *extras)):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def _files_mb(one: Distribution) -> float:
    """What pip has listed of it."""
    paths = [Path(str(one.locate_file(name))) for name in one.files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6

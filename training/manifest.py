"""Write a bundle's manifest: the hashes of its files and the facts of how they were made."""

from __future__ import annotations

import hashlib
from pathlib import Path

from aiflow.common.bundle import MANIFEST, Manifest


def hashes(folder: Path, names: list[str]) -> dict[str, str]:
    """Hex sha256 of each file."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write manifest.json and return the bundle's id."""
    raw = manifest.model_dump_json(indent=1).encode() + b"\n"
    (folder / MANIFEST).write_bytes(raw)
    return hashlib.sha256(raw).hexdigest()

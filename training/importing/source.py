"""Where an imported model comes from: a directory, or the Hugging Face hub."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import huggingface_hub

from aiflow.common.errors import SourceInvalid

_WANTED: Final = ("*.json", "*.safetensors", "README.md")
_HUB_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def locate(source: str | Path) -> Path:
    """Return the directory of the model's files, downloaded if need be; raises SourceInvalid."""
    path = Path(source)
    if path.is_dir():
        return path
    if path.exists() or not _HUB_ID.fullmatch(str(source)):
        raise SourceInvalid(
            f"{str(source)!r} is no directory; name one with config.json and *.safetensors in it, "
            "or a model of the Hugging Face hub as OWNER/NAME"
        )
    try:
        # Weights that are not safetensors are not even downloaded.
        found = huggingface_hub.snapshot_download(str(source), allow_patterns=list(_WANTED))
    except (
        Exception
    ) as exc:  # its errors, those of its HTTP library and OSError have no common base
        reason = str(exc).strip().splitlines()[0:1] or [type(exc).__name__]
        raise SourceInvalid(
            f"{source} is no directory here, and the Hugging Face hub does not give it "
            f"({reason[0]}); download it where there is a network, and name its directory"
        ) from exc
    return Path(found)


def read_config(folder: Path) -> dict[str, Any]:
    """Read the model's config.json, and see that there are weights to it; raises SourceInvalid."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise SourceInvalid(
            f"{path} cannot be read ({exc}); name the directory of a whole model"
        ) from exc
    if not isinstance(config, dict):
        raise SourceInvalid(f"{path} is no configuration of a model")
    if not any(folder.glob("*.safetensors")):
        raise SourceInvalid(
            f"{folder} has no *.safetensors, and weights of other kinds (pickle) are not read, "
            "since they can run code; save the model as safetensors, or take a revision that is"
        )
    return config


def license_of(folder: Path) -> str:
    """Return the license that the model card names, or ""."""
    card = folder / "README.md"
    facts = huggingface_hub.metadata_load(card) if card.is_file() else None
    named = (facts or {}).get("license", "")
    return named if isinstance(named, str) else ", ".join(named)

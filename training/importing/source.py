"""Where an imported model comes from: a directory, or the Hugging Face hub."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any, Final

import huggingface_hub
import yaml

from aiflow.common.errors import SourceInvalid

log = logging.getLogger(__name__)

_WANTED: Final = ("*.json", "*.safetensors", "README.md")
_HEADER: Final = re.compile(r"---[ \t]*\r?\n(.*?)\r?\n---", re.DOTALL)
"""Of a model card: YAML between two lines of dashes."""
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
    config = read_object(folder / "config.json")
    generation = folder / "generation_config.json"
    if generation.is_file():
        read_object(generation)  # transformers would go on without it, and say nothing
    if not any(folder.glob("*.safetensors")):
        raise SourceInvalid(
            f"{folder} has no *.safetensors, and weights of other kinds (pickle) are not read, "
            "since they can run code; save the model as safetensors, or take a revision that is"
        )
    return config


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file of the model; raises SourceInvalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as exc:
        raise SourceInvalid(
            f"{path} cannot be read ({exc}); name the directory of a whole model"
        ) from exc
    if not isinstance(content, dict):
        raise SourceInvalid(
            f"{path} holds no JSON object; get this file from where the model comes from"
        )
    return content


def license_of(folder: Path) -> str:
    """Return the license that the model card names, or "", also where the card cannot be read."""
    card = folder / "README.md"
    try:
        text = card.read_bytes().decode("utf-8-sig", errors="replace")
        header = _HEADER.match(text)
        facts = yaml.safe_load(header[1]) if header else None
    except FileNotFoundError:
        return ""
    except (OSError, yaml.YAMLError) as exc:
        reason = str(exc).splitlines()[0]
        log.warning("%s cannot be read (%s), so the licence is not known from it", card, reason)
        return ""
    named = facts.get("license") if isinstance(facts, dict) else None
    names = named if isinstance(named, list) else [named]
    return ", ".join(str(name) for name in names if name)

"""Results as JSON files."""

from __future__ import annotations

import json
import os
from pathlib import Path

from aiflow.common.errors import ConfigError


def check_writable(path: Path) -> None:
    """Raise ConfigError now, rather than after the work, if no file can be written there."""
    target = path if path.exists() else path.resolve().parent
    if path.is_dir() or not os.access(target, os.W_OK):
        raise ConfigError(f"{path} cannot be written; name a file in a folder of yours")


def write_json(path: Path, content: object) -> None:
    """Write `content` there. Raises ConfigError if it cannot be."""
    try:
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error

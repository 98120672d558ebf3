"""Files that others must not read, and that nobody overwrites by accident."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aiflow.common.errors import ConfigError

SECRET: Final = 0o600
PUBLIC: Final = 0o644
FOLDER: Final = 0o700


def new_folder(path: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Make a folder with these files, name to (content, mode), as a whole or not at all.

    Raises ConfigError if something is there, or if it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} is there already, and nothing is overwritten: move it away")
    making = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=FOLDER, exist_ok=True)
        making.mkdir(mode=FOLDER)
        for name, (content, mode) in files.items():
            _write(making / name, content, mode)
        making.rename(path)
    except FileExistsError as error:
        raise ConfigError(f"{making} is left from an attempt that failed: remove it") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file of ours anew: there is the old one or the new one, never half of it."""
    making = path.with_name(f".{path.name}.new")
    try:
        making.unlink(missing_ok=True)
        _write(making, content, mode)
        making.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error


def move(path: Path, target: Path) -> None:
    """Raises ConfigError, also if something is there."""
    if target.exists():
        raise ConfigError(f"{target} is there already, and nothing is overwritten: move it away")
    try:
        path.rename(target)
    except OSError as error:
        raise ConfigError(f"{path} cannot be moved: {error.strerror or error}") from error


def read(path: Path) -> bytes:
    """Raises ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def read_secret(path: Path) -> bytes:
    """Read a file that only its owner may read. Raises ConfigError, also if others may."""
    content = read(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path} can be read by others; if nobody has: chmod 600 {path}")
    return content


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of ours out of a folder. Raises ConfigError if one is at work."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be opened: {error.strerror or error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ConfigError(f"another aiflow enroll is at work in {folder}; try again") from error
    finally:
        os.close(handle)


def _write(path: Path, content: bytes, mode: int) -> None:
    """A new file, never readable by more than `mode` allows, and on the disk. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as stream:
        os.fchmod(handle, mode)
        stream.write(content)
        stream.flush()
        os.fsync(handle)

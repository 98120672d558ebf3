"""Which files are pictures: one list, for cameras that play a folder and for imported models."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SUFFIXES: Final = frozenset(
    [
        "avif",
        "bmp",
        "dib",
        "gif",
        "hdr",
        "jp2",
        "jpe",
        "jpeg",
        "jpg",
        "pam",
        "pbm",
        "pgm",
        "pic",
        "png",
        "pnm",
        "ppm",
        "ras",
        "sr",
        "tif",
        "tiff",
        "webp",
    ]
)
"""What the OpenCV from PyPI reads and shows as it is; a PFM it reads, but as black."""


def is_picture(path: Path) -> bool:
    """By its name; whether it can be decoded is seen when it is read."""
    return path.suffix[1:].lower() in SUFFIXES

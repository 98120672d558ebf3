"""`aiflow enroll`: a private authority, its certificates, and the rules of the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path("aiflow-authority")
"""Of the authority, where no other is named."""

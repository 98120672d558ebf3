"""AI Flow: cameras that send meaning, not pixels, over MQTT."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("aiflow-edge")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

"""AI Flow: cameras that send meaning, not pixels, over MQTT."""

from __future__ import annotations

__all__ = ["__version__"]

__version__: str


def __getattr__(name: str) -> str:
    """Read `__version__` when it is asked for: a camera's process never does, and starts sooner."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version("aiflow-edge")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"

"""`aiflow homeassistant ...`: options and help. A leaf of `commands.py`, as light as that."""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

homeassistant_app = typer.Typer(
    no_args_is_help=True, help="Home Assistant: what it was told of a device."
)


@homeassistant_app.callback()
def homeassistant() -> None:
    """Home Assistant: what it was told of a device."""


@homeassistant_app.command()
def remove(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The device's TOML file.")
    ],
) -> None:
    """Take a device out of Home Assistant, with all its entities.

    For a device that has stopped for good, or whose name is about to change: one that runs
    announces itself again unless its configuration says `enabled = false` in [home_assistant],
    which does the same as this command.

    \b
        aiflow homeassistant remove --config /etc/aiflow/device.toml
    """
    from aiflow.cli.homeassistant import remove as run_remove

    run_remove(config)

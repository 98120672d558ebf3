"""`aiflow trigger ...`: options and help. A leaf of `commands.py`, as light as that."""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

trigger_app = typer.Typer(no_args_is_help=True, help="Triggers: examples of what to look for.")


@trigger_app.callback()
def trigger() -> None:
    """Triggers: examples of what to look for."""


@trigger_app.command()
def learn(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the example, for `like`.")],
    camera: Annotated[
        str, typer.Option("--camera", metavar="DEVICE/CAMERA", help="Which camera to learn from.")
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The edge node's TOML file."),
    ] = None,
    frames: Annotated[int, typer.Option(min=1, max=16, help="How many frames to keep.")] = 3,
    timeout: Annotated[
        float, typer.Option(min=1, max=3600, metavar="SECONDS", help="Wait no longer.")
    ] = 90.0,
) -> None:
    """Take the next frames of a camera as an example for a trigger that is `like` them.

    The example is a file beside the edge node's ledger; start the node again to use it.

    \b
        aiflow trigger learn open-gate --camera gate-pi/yard --config edge.toml
    """
    from aiflow.cli.trigger import LearnOptions
    from aiflow.cli.trigger import learn as run_learn

    run_learn(LearnOptions(name, camera, config, frames, timeout))

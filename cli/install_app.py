"""`aiflow install` and `aiflow uninstall`: options and help. A leaf of `commands.py`."""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Tier(StrEnum):
    """What can be installed."""

    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"


TierArgument = Annotated[Tier, typer.Argument(metavar="TIER", help="device, edge or cloud.")]
RootOption = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="Below this folder, as in a system image: nothing else is touched, nothing is run.",
    ),
]


def install(
    tier: TierArgument,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the files, or write them below --root; run nothing."),
    ] = False,
    root: RootOption = None,
) -> None:
    """Make a tier a systemd service: its unit, its user, its configuration in /etc/aiflow.

    An existing configuration is kept. The service is not started; what comes next is printed.

    \b
        sudo /opt/aiflow/bin/aiflow install device
        aiflow install edge --dry-run           # only show the files
        aiflow install device --root IMAGE      # into the tree of another system
    """
    from aiflow.cli.install import install as run_install

    run_install(tier.value, dry_run=dry_run, root=root)


def uninstall(
    tier: TierArgument,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be removed; remove nothing.")
    ] = False,
    root: RootOption = None,
) -> None:
    """Stop the service of a tier and remove it; configuration and state are kept.

    \b
        sudo /opt/aiflow/bin/aiflow uninstall device
        aiflow uninstall device --dry-run
    """
    from aiflow.cli.install import uninstall as run_uninstall

    run_uninstall(tier.value, dry_run=dry_run, root=root)

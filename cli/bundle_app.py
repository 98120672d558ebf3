"""`aiflow bundle ...`: options and help. A leaf of `commands.py`, as light as that."""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

from typing import Annotated

import typer

bundle_app = typer.Typer(
    no_args_is_help=True, help="The models: list them, describe one, check one."
)

JsonFlag = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A built-in bundle's name, or a path.")
]


@bundle_app.command("list")
def bundle_list(as_json: JsonFlag = False) -> None:
    """List the built-in bundles."""
    from aiflow.cli.bundle_commands import show_list

    show_list(as_json=as_json)


@bundle_app.command("info")
def bundle_info(name: NameArgument = "street", as_json: JsonFlag = False) -> None:
    """Describe a bundle: sizes, origin, figures.

    \b
        aiflow bundle info
        aiflow bundle info ./my-bundle --json
    """
    from aiflow.cli.bundle_commands import show_info

    show_info(name, as_json=as_json)


@bundle_app.command("verify")
def bundle_verify(name: NameArgument = "street", as_json: JsonFlag = False) -> None:
    """Check that no file of a bundle was changed; exit status 1 if one was.

    \b
        aiflow bundle verify
        aiflow bundle verify /etc/aiflow/bundles/street
    """
    from aiflow.cli.bundle_commands import show_verify

    show_verify(name, as_json=as_json)

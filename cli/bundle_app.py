"""`aiflow bundle ...`: options and help. A leaf of `commands.py`, as light as that."""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

bundle_app = typer.Typer(
    no_args_is_help=True, help="The models: list them, describe or check one, import your own."
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


@bundle_app.command("import")
def bundle_import(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A directory with a Hugging Face captioner, or OWNER/NAME of one on the hub.",
        ),
    ],
    *,
    images: Annotated[
        Path, typer.Option(metavar="DIR", help="Images such as your camera will see; 200 or more.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the bundle shall be.")],
    tokens: Annotated[
        int, typer.Option(min=1, max=64, help="Visual tokens that a frame is merged to.")
    ] = 32,
    stages: Annotated[
        int, typer.Option(min=1, max=32, help="Stages of quantization: about a byte each a token.")
    ] = 4,
    license_: Annotated[
        str, typer.Option("--license", help="Licence of the weights, if the source names none.")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the codec's fit.")] = 1,
    encoder: Annotated[
        Literal["both", "int8", "float"],
        typer.Option(help="What devices run: int8, with float beside it or alone; or float."),
    ] = "both",
) -> None:
    """Make a bundle of a captioning model: BLIP, GIT, or ViT with GPT-2.

    It is described in docs/own-models.md.

    \b
        aiflow bundle import ./vit-gpt2 --images ./porch --out ./porch-bundle
        aiflow bundle import OWNER/NAME --images ./porch --out ./porch-bundle --tokens 16
    """
    from aiflow.cli.bundle_commands import import_model

    import_model(
        source,
        images,
        out,
        tokens=tokens,
        stages=stages,
        seed=seed,
        license_=license_,
        encoder=encoder,
    )

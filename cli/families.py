"""Families of sub-commands: bundle, homeassistant, install, trigger. Their options and help.

As light as `commands.py`: what a command needs is imported when it runs.
"""

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
    from aiflow.cli.bundle import show_list

    show_list(as_json=as_json)


@bundle_app.command("info")
def bundle_info(name: NameArgument = "street", as_json: JsonFlag = False) -> None:
    """Describe a bundle: sizes, origin, figures.

    \b
        aiflow bundle info
        aiflow bundle info ./my-bundle --json
    """
    from aiflow.cli.bundle import show_info

    show_info(name, as_json=as_json)


@bundle_app.command("verify")
def bundle_verify(name: NameArgument = "street", as_json: JsonFlag = False) -> None:
    """Check that no file of a bundle was changed; exit status 1 if one was.

    \b
        aiflow bundle verify
        aiflow bundle verify /etc/aiflow/bundles/street
    """
    from aiflow.cli.bundle import show_verify

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
    from aiflow.cli.bundle import import_model

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


Tier = Literal["device", "edge", "cloud"]
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

    run_install(tier, dry_run=dry_run, root=root)


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

    run_uninstall(tier, dry_run=dry_run, root=root)


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

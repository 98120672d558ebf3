"""`aiflow enroll ...`: options and help. A leaf of `commands.py`, as light as that."""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from aiflow.cli.enroll import FOLDER

if TYPE_CHECKING:
    from aiflow.cli.enroll.identities import Role

enroll_app = typer.Typer(
    no_args_is_help=True,
    help="Certificates: who may connect to the broker, and do what there.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

DirOption = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="Folder of the authority.", show_default=True)
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="As in its topics.")]
DaysOption = Annotated[int, typer.Option(min=1, max=36_500, help="How long it is good for.")]
PoolOption = Annotated[str, typer.Option(metavar="POOL", help="The pool of cloud workers.")]
CLIENT_DAYS: Final = 1825


@enroll_app.command("init")
def enroll_init(
    prefix: Annotated[str, typer.Option(help="First level of every topic, as in [broker].")] = (
        "aiflow"
    ),
    days: DaysOption = 7300,
    folder: DirOption = FOLDER,
) -> None:
    """Make a private authority, which certifies the broker and all that connects to it.

    \b
        aiflow enroll init
        aiflow enroll init --dir ~/safe/authority
    """
    from aiflow.cli.enroll import run as enroll

    enroll.init(folder, prefix=prefix, days=days)


@enroll_app.command("broker")
def enroll_broker(
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name or address by which clients reach it; several are allowed. Without "
            "one, those of this machine.",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="TCP port, for TLS.")] = 8883,
    at: Annotated[
        Path, typer.Option(metavar="DIR", help="Where these files will be on its machine.")
    ] = Path("/etc/mosquitto/aiflow"),
    state: Annotated[
        Path, typer.Option(metavar="DIR", help="Where Mosquitto keeps what it remembers.")
    ] = Path("/var/lib/mosquitto"),
    mosquitto: Annotated[
        Literal["2.0", "2.1"],
        typer.Option(
            help="Its version: 2.1 and later have the rules in a plugin. The form for 2.0 does "
            "for both, with a warning in the log."
        ),
    ] = "2.0",
    days: DaysOption = 3650,
    folder: DirOption = FOLDER,
) -> None:
    """Make the broker's certificate, and a Mosquitto configuration that admits certificates only.

    \b
        aiflow enroll broker --host broker.local --host 192.168.1.10
    """
    from aiflow.cli.enroll import run as enroll

    enroll.broker(
        folder, hosts=host or [], port=port, at=at, state=state, days=days, version=mosquitto
    )


@enroll_app.command("device")
def enroll_device(
    *,
    name: NameArgument,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Let it send pictures: snapshots, and mode image.")
    ] = False,
    days: DaysOption = CLIENT_DAYS,
    folder: DirOption = FOLDER,
) -> None:
    """Certify a device: it writes its own topics only, and reads its own orders only.

    \b
        aiflow enroll device porch
    """
    _enrol(folder, "device", name, days, pictures=pictures)


@enroll_app.command("edge")
def enroll_edge(
    name: NameArgument,
    pool: PoolOption = "default",
    days: DaysOption = CLIENT_DAYS,
    folder: DirOption = FOLDER,
) -> None:
    """Certify an edge node: it reads embeddings, writes captions, and asks one pool.

    \b
        aiflow enroll edge edge1
    """
    _enrol(folder, "edge", name, days, pool=pool)


@enroll_app.command("cloud")
def enroll_cloud(
    name: NameArgument,
    pool: PoolOption = "default",
    days: DaysOption = CLIENT_DAYS,
    folder: DirOption = FOLDER,
) -> None:
    """Certify a cloud worker, each process its own: it reads requests and writes replies.

    \b
        aiflow enroll cloud worker1 --pool default
    """
    _enrol(folder, "cloud", name, days, pool=pool)


@enroll_app.command("viewer")
def enroll_viewer(
    name: NameArgument, days: DaysOption = CLIENT_DAYS, folder: DirOption = FOLDER
) -> None:
    """Certify a program that reads captions, states and statistics, as `aiflow watch` does.

    \b
        aiflow enroll viewer hall
    """
    _enrol(folder, "viewer", name, days)


@enroll_app.command("operator")
def enroll_operator(
    name: NameArgument, days: DaysOption = CLIENT_DAYS, folder: DirOption = FOLDER
) -> None:
    """Certify a viewer that may also switch cameras on and off.

    \b
        aiflow enroll operator janitor
    """
    _enrol(folder, "operator", name, days)


@enroll_app.command("pictures")
def enroll_pictures(
    *,
    name: NameArgument,
    off: Annotated[bool, typer.Option("--off", help="Bar them again.")] = False,
    folder: DirOption = FOLDER,
) -> None:
    """Let a device that is enrolled send pictures, which the rules bar otherwise.

    Rewrites the broker's files, also those of a site that an earlier version has set up. The device
    itself sends none before its own configuration allows it as well.

    \b
        aiflow enroll pictures porch
        aiflow enroll pictures porch --off
    """
    from aiflow.cli.enroll import run as enroll

    enroll.pictures(folder, name, allowed=not off)


@enroll_app.command("revoke")
def enroll_revoke(
    name: NameArgument,
    role: Annotated[
        Literal["device", "edge", "cloud", "viewer", "operator"] | None,
        typer.Option(help="Which, where several have that name."),
    ] = None,
    folder: DirOption = FOLDER,
) -> None:
    """Let somebody in no more: a device that was stolen, or that gets a new certificate.

    \b
        aiflow enroll revoke porch
    """
    from aiflow.cli.enroll import run as enroll

    enroll.revoke(folder, name, role)


@enroll_app.command("list")
def enroll_list(folder: DirOption = FOLDER) -> None:
    """Show who is enrolled, until when, and who was revoked."""
    from aiflow.cli.enroll import run as enroll

    enroll.show(folder)


def _enrol(
    folder: Path,
    role: Role,
    name: str,
    days: int,
    *,
    pool: str | None = None,
    pictures: bool = False,
) -> None:
    from aiflow.cli.enroll import run as enroll
    from aiflow.cli.enroll.identities import Identity

    identity = Identity(role=role, name=name, pool=pool, pictures=pictures)
    enroll.enrol(folder, identity, days=days)

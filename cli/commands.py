"""The sub-commands of `aiflow`: their options and help. The work is done elsewhere.

Everything beyond typer is imported inside the command that needs it: `--version` and `--help` are
quick, and `aiflow device` loads no other tier. A `\\b` keeps the lines below it as they are.
"""

# ruff: noqa: D301, PLC0415

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from aiflow.cli import families
from aiflow.cli.enroll.commands import enroll_app
from aiflow.cli.logs import Format, Level, configure

app = typer.Typer(
    name="aiflow",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.add_typer(families.bundle_app, name="bundle")
app.add_typer(enroll_app, name="enroll")
app.add_typer(families.homeassistant_app, name="homeassistant")
app.add_typer(families.trigger_app, name="trigger")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with the settings; without it, defaults and AIFLOW_... variables.",
    ),
]
LevelOption = Annotated[Level, typer.Option("--log-level", help="What to log on stderr.")]
FormatOption = Annotated[
    Format,
    typer.Option(
        "--log-format",
        envvar="AIFLOW_LOG_FORMAT",
        help="json: one object a line; auto: for people, or as journald likes it.",
    ),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        from aiflow import __version__

        typer.echo(f"aiflow {__version__}")
        raise typer.Exit


@app.callback()
def aiflow(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Cameras that send meaning, not pixels, over MQTT.

    A device sends some tens of bytes a frame; an edge node captions them; the cloud betters the
    captions that the edge is not sure of. See it work on this machine:

    \b
        aiflow demo

    Run it for real, each on its machine, with one MQTT broker between them:

    \b
        aiflow edge   --config edge.toml
        aiflow cloud  --config cloud.toml
        aiflow device --config device.toml
        aiflow watch  --broker mqtt://broker.local
    """


@app.command()
def device(
    config: ConfigOption = None,
    log_level: LevelOption = Level.INFO,
    log_format: FormatOption = Format.AUTO,
) -> None:
    """Run the daemon of a camera device, until SIGTERM or Ctrl-C.

    \b
        aiflow device --config /etc/aiflow/device.toml
        AIFLOW_BROKER__HOST=broker.local aiflow device --config device.toml

    A file as small as this is enough:

    \b
        device = "porch"
        [broker]
        host = "broker.local"
        [[camera]]
        name = "door"
        uri = "0"                        # or a file, rtsp://..., synthetic:street
    """
    configure(log_level, log_format)
    # NumPy's BLAS starts a thread for each core when it is loaded; here nothing is multiplied.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from aiflow.common.config import load
    from aiflow.device.config import DeviceConfig
    from aiflow.device.launch import Launches

    settings = load(DeviceConfig, config)
    with Launches(settings.camera) as launches:
        # Imported while the cameras' processes start: it takes as long as they do.
        from aiflow.device.service import run as run_device

        run_device(settings, launches)


@app.command()
def edge(
    config: ConfigOption = None,
    log_level: LevelOption = Level.INFO,
    log_format: FormatOption = Format.AUTO,
) -> None:
    """Run an edge node, which captions what devices send, until SIGTERM or Ctrl-C.

    \b
        aiflow edge --config /etc/aiflow/edge.toml
        AIFLOW_BROKER__HOST=broker.local aiflow edge
    """
    configure(log_level, log_format)
    from aiflow.common.config import load
    from aiflow.edge.config import EdgeConfig
    from aiflow.edge.service import run as run_edge

    run_edge(load(EdgeConfig, config))


@app.command()
def cloud(
    config: ConfigOption = None,
    log_level: LevelOption = Level.INFO,
    log_format: FormatOption = Format.AUTO,
) -> None:
    """Run a cloud worker, which finishes what edge nodes escalate, until SIGTERM or Ctrl-C.

    Start as many as you like: the workers of a pool share its requests.

    \b
        aiflow cloud --config /etc/aiflow/cloud.toml
        AIFLOW_BROKER__HOST=broker.local aiflow cloud
    """
    configure(log_level, log_format)
    from aiflow.cloud.config import CloudConfig
    from aiflow.cloud.service import run as run_cloud
    from aiflow.common.config import load

    run_cloud(load(CloudConfig, config))


@app.command()
def demo(
    *,
    frames: Annotated[int, typer.Option(min=1, max=10_000, help="End after so many frames.")] = 30,
    json_path: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write captions and figures there."),
    ] = None,
    camera: Annotated[
        str,
        typer.Option(metavar="URI", help="synthetic:street, a device number, a file, an URL."),
    ] = "synthetic:street",
    broker: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Your broker (mqtt://host:port), not a private one."),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A bundle's name or path; unset, as the camera needs."),
    ] = None,
    mode: Annotated[
        Literal["auto", "cascade", "split", "device", "image"],
        typer.Option(
            help="Who captions. device: the device alone; split: device and edge; cascade: device, "
            "edge and cloud; auto: cascade, and the device alone while it has no edge; image: the "
            "edge, from JPEG pictures."
        ),
    ] = "auto",
    link: Annotated[
        str | None,
        typer.Option(metavar="RATE,RTT", help="Slow the device's link, as in 25KB/s,50ms."),
    ] = None,
    forever: Annotated[bool, typer.Option("--forever", help="Go on until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Which street the synthetic camera sees.")] = 7,
    fps: Annotated[float, typer.Option(min=0.1, max=30, help="Frames a second.")] = 3.0,
    log_level: LevelOption = Level.WARNING,
) -> None:
    """Show the whole path on this machine: broker, device, edge and cloud, as processes.

    Prints each caption with its tier, confidence, latency, bytes, and the bytes of the same frame
    as JPEG. A second line with the same number is the cloud's better answer.

    \b
        aiflow demo
        aiflow demo --frames 100 --json run.json
        aiflow demo --link 25KB/s,50ms          # a slow radio link
        aiflow demo --camera 0 --forever        # a webcam (street knows streets only)
    """
    configure(log_level)
    from aiflow.cli.demo.run import DemoOptions
    from aiflow.cli.demo.run import demo as run_demo
    from aiflow.cli.watch import broker_at
    from aiflow.rig.link import LinkSpec
    from aiflow.rig.system import SystemOptions

    system = SystemOptions(
        camera=camera,
        fps=fps,
        seed=seed,
        bundle=bundle,
        mode=mode,
        broker=None if broker is None else broker_at(broker, None),
        link=LinkSpec.parse(link) if link is not None else None,
    )
    run_demo(DemoOptions(system, frames, forever, json_path))


@app.command()
def watch(
    *,
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="The broker, as in mqtt://user@host:1883.")
    ] = None,
    config: ConfigOption = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this device.")] = None,
    camera: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this camera.")] = None,
    tier: Annotated[
        families.Tier | None, typer.Option(help="Only those that this tier gave.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="WORDS", help="Only with these words; more than once: with all."),
    ] = None,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Only as sure as that.")
    ] = 0.0,
    events: Annotated[
        bool,
        typer.Option("--events", help="Only what comes from now on, not the latest of before."),
    ] = False,
    count: Annotated[int, typer.Option(min=0, help="End after so many captions; 0: never.")] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One caption message a line, as it came.")
    ] = False,
    log_level: LevelOption = Level.WARNING,
) -> None:
    """Show the captions of a broker as they come, until Ctrl-C.

    \b
        aiflow watch --broker mqtt://broker.local
        aiflow watch --device porch --count 1
        aiflow watch --tier cloud --text "red bus" --min-confidence 0.9
        aiflow watch --json | jq -r .text
    """
    from aiflow.cli.watch import Wanted, WatchOptions
    from aiflow.cli.watch import watch as run_watch

    wanted = Wanted(tier, tuple(text or ()), min_confidence)
    run_watch(
        WatchOptions(config, broker, device, camera, wanted, events, count, as_json, log_level)
    )


@app.command()
def bench(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Which; without it, all are listed.")
    ] = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures there.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw the pictures into this folder.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random in it.")] = 0,
    scenes: Annotated[
        int | None,
        typer.Option(min=1, help="How many to measure; without it, the benchmark's own."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Photos with captions, for `photos`.")
    ] = None,
) -> None:
    """Measure something and print the table.

    \b
        aiflow bench                            # what there is
        aiflow bench quality --json quality.json
        aiflow bench rate --scenes 100          # a first look
        aiflow bench photos --data flickr8k     # photos and their captions
    """
    from aiflow.cli import bench_command

    if name is None:
        bench_command.show_known()
    else:
        bench_command.bench(
            name, json_path=json_path, plot=plot, seed=seed, scenes=scenes, data=data
        )


@app.command()
def doctor(
    tier: Annotated[
        families.Tier | None,
        typer.Argument(metavar="[TIER]", help="device, edge or cloud; without it, this machine."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Its settings; without it, /etc/aiflow/TIER.toml where there is one.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The findings as JSON.")] = False,
) -> int:
    """Look for what is wrong with a tier's set-up, and say what to do about it.

    Exit status 0 when nothing has failed, 1 otherwise. Nothing is changed.

    \b
        aiflow doctor                           # this machine: versions, clock, models
        aiflow doctor device --config device.toml
        sudo aiflow doctor edge                 # as installed by aiflow install
        aiflow doctor device --json | jq '.findings[] | select(.state != "ok")'
    """
    configure(Level.ERROR)  # what the checks try is told by their findings
    from aiflow.cli.doctor.run import DoctorOptions
    from aiflow.cli.doctor.run import doctor as run_doctor

    sound = run_doctor(DoctorOptions(tier, config, as_json))
    return 0 if sound else 1


app.command()(families.install)
app.command()(families.uninstall)

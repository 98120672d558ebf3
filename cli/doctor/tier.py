"""What is a tier's own: its keys, its models, its cameras."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from aiflow.cli.doctor import machine
from aiflow.cli.doctor.finding import Finding, failed, ok, warning
from aiflow.cli.doctor.probe import ProbeFailed, probe
from aiflow.cli.doctor.settings import TierSettings
from aiflow.common.bundle import Bundle, built_in
from aiflow.common.errors import AiflowError, BundleNotFound, ConfigError
from aiflow.device.camera import Source
from aiflow.device.camera.source import Origin
from aiflow.device.config import CameraConfig

CAMERA_S: Final = 30.0
"""To load the driver, open the camera and get a frame; of H.264 a key frame each 20 s is in use."""
MODEL_S: Final = 60.0
UNSHARED: Final = frozenset({"device", "picamera2", "gstreamer"})
"""Cameras that one process at a time may have."""
WHAT_NEXT: Final[Mapping[Origin, str]] = {
    "device": "see what `ls /dev/video*` shows, and correct uri of its [[camera]], or end the "
    "program that has it",
    "picamera2": "see what `rpicam-hello --list-cameras` shows",
    "gstreamer": "try the pipeline with gst-launch-1.0",
    "url": "try the same URL in a player, as in `ffplay URL`: address, path, user and password",
    "path": "correct uri of its [[camera]]",
    "synthetic": "correct uri of its [[camera]]",
}
"""Where a camera gives nothing."""
DARK: Final = 2.0
"""Mean of 0 to 255 below which a picture is black."""


def keys(settings: TierSettings) -> Iterator[Finding]:
    """Of devices that sign: only what is wrong with one."""
    try:
        settings.read_keys()
    except ConfigError as error:
        yield failed("keys", str(error), "make one: openssl rand -hex 32; docs/configuration.md")


def models(settings: TierSettings) -> Iterator[Finding]:
    """Each bundle's hashes, and whether the runtime can do what the tier needs of it."""
    for name in settings.bundles or built_in():
        yield from _of_bundle(settings, name)


def _of_bundle(settings: TierSettings, bundle_name: str) -> Iterator[Finding]:
    try:
        bundle = Bundle.open(bundle_name)
    except AiflowError as error:
        yield failed("bundle", str(error), _bundle_next(error))
        return
    files = len(bundle.manifest.sha256)
    yield ok("bundle", f"{bundle.manifest.name} {bundle.id[:12]}: all {files} files are as made")
    job: dict[str, Any] = {"bundle": bundle_name, "threads": settings.threads}
    if settings.tier == "device":
        job |= {"what": "encoder", "runtime": settings.runtime, "provider": settings.provider}
    else:
        job |= {"what": "decoder", "tier": settings.tier}
    name = settings.runtime
    try:
        facts = probe(job, MODEL_S)
    except ProbeFailed as error:
        yield failed("runtime", f"{name}: {error}", "docs/runtimes.md; is this a 64-bit system?")
    else:
        yield ok("runtime", f"{name} {facts['did']} in {facts['run_s'] * 1000:.1f} ms")


def _bundle_next(error: AiflowError) -> str:
    if isinstance(error, BundleNotFound):
        return "correct `bundle`; `aiflow bundle list` shows what there is"
    return "install the package again, or the bundle that `bundle` names"


def cameras(settings: TierSettings) -> Iterator[Finding]:
    """Whether each may be opened, and gives a frame."""
    for camera in settings.cameras:
        source = Source.parse(camera.uri)
        named = f"{camera.name} ({source.shown})"
        if source.origin == "device":
            node = Path(f"/dev/video{source.target}" if source.target.isdigit() else source.target)
            yield from machine.groups([node], settings.user)
        if settings.running and source.origin in UNSHARED:
            yield warning(
                "camera",
                f"{named} was not opened: the running daemon has it",
                "its status line says whether it is online; or stop it, and ask again",
            )
        else:
            yield _camera(camera, source.origin, named)


def _camera(camera: CameraConfig, origin: Origin, named: str) -> Finding:
    job = {"what": "camera"} | camera.model_dump(
        include={"uri", "fps", "width", "height", "stall_s"}
    )
    # A file for the truth is the daemon's to write.
    job["uri"] = re.sub(r"^(synthetic:.*[?&])truth=[^&]*&?", r"\1", camera.uri)
    try:
        facts = probe(job, CAMERA_S)
    except ProbeFailed as error:
        what_next = f"{WHAT_NEXT[origin]}; docs/troubleshooting.md says more"
        return failed("camera", f"{named}: {error}", what_next)
    seen = f"{named}: {facts['width']}x{facts['height']} after {facts['took_s']:.1f} s"
    if facts["brightness"] < DARK:
        return warning("camera", f"{seen}, and the picture is black", "is the lens covered?")
    return ok("camera", seen)

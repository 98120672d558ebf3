"""`aiflow install` and `aiflow uninstall`: a tier as a systemd service of this machine.

    unit, user, access rules    ours: written anew each time, removed by uninstall
    /etc/aiflow/<tier>.toml     the owner's: written once, never changed, never removed
    /var/lib/aiflow-<tier>      the daemon's: made by systemd, never removed

Each step is said when it is done. Below another root nothing is run and nobody's rights are needed.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiflow.cli import units
from aiflow.cli.defaults import commented
from aiflow.cloud.config import CloudConfig
from aiflow.common import toml
from aiflow.common.config import load
from aiflow.common.errors import AiflowError, ConfigError
from aiflow.common.topics import check_name
from aiflow.device.config import DeviceConfig
from aiflow.edge.config import EdgeConfig

MODELS: Final[Mapping[str, type[DeviceConfig | EdgeConfig | CloudConfig]]] = {
    "device": DeviceConfig,
    "edge": EdgeConfig,
    "cloud": CloudConfig,
}
HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - nothing is written
"""What a service does not see (ProtectHome=, PrivateTmp=)."""
RUNNING: Final = Path("/run/systemd/system")
"""There while systemd is the init of this machine."""
COMMAND_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class File:
    """One file to write; `path` is absolute, below whatever root."""

    path: str
    text: str
    mode: int = 0o644
    ours: bool = True
    """Else it is the owner's once it is there."""


def files(tier: str, device: str = "device1", root: Path = Path("/")) -> list[File]:
    """All files of a tier; `device` is what a new configuration calls the device.

    What is there already, below `root`, says at which ports the service may listen.
    """
    ports = listening(tier, _below(root, units.config_path(tier)))
    return [
        File(units.config_path(tier), configuration(tier, device), 0o640, ours=False),
        File(f"/etc/sysusers.d/{units.service(tier)}.conf", units.sysusers(tier)),
        File(f"/etc/tmpfiles.d/{units.service(tier)}.conf", units.tmpfiles(tier)),
        File(
            f"/etc/systemd/system/{units.service(tier)}.service", units.unit(tier, program(), ports)
        ),
    ]


def configuration(tier: str, device: str) -> str:
    """A configuration that works as it is, with a camera and a broker of this machine."""
    given: dict[str, toml.Value] = {"broker": {"host": "127.0.0.1"}}
    if tier == "device":
        given |= {"device": device, "camera": [{"name": "camera1", "uri": "/dev/video0"}]}
    head = (
        f"# Settings of {units.service(tier)}. What begins with # is a default, yours to change;\n"
        f"# afterwards: sudo systemctl restart {units.service(tier)}\n\n"
    )
    return head + commented(MODELS[tier], given)


def listening(tier: str, path: Path) -> list[int]:
    """The ports at which a tier with this configuration listens; none if there is none yet."""
    try:
        config = load(MODELS[tier], path, environ={})
    except ConfigError:  # the daemon will say what is wrong with it
        return []
    ports = [config.metrics.port]
    if isinstance(config, EdgeConfig) and config.dashboard.enabled:
        ports.append(config.dashboard.port)
    return [port for port in ports if port is not None]


def program() -> list[str]:
    """How this very installation is started; -P: no module is taken from the working directory."""
    return [sys.executable, "-P", "-m", "aiflow"]


def install(tier: str, *, dry_run: bool, root: Path | None) -> None:
    """Write the files of a tier, let systemd take note, and say what was done and how to undo it.

    With `dry_run` they go to stdout, or below `root` if there is one. The service is not started:
    its configuration may need the owner first. Raises ConfigError for what cannot be written, and
    AiflowError when a command of systemd fails.
    """
    if root is None and dry_run:
        for file in files(tier, _device_name()):
            print(f"# {file.path} (mode {file.mode:04o})\n\n{file.text}")
        return
    obstacle = hidden()
    if root is not None:
        if obstacle is not None:
            print(f"aiflow: note: {obstacle}", file=sys.stderr)
        for file in files(tier, root=root):
            _put(file, root)
        _say("next", f"in that system: systemctl enable {units.service(tier)}")
        _say("undo", f"aiflow uninstall {tier} --root {root}")
        return
    _require_root("install")
    if obstacle is not None:
        raise ConfigError(obstacle)
    for file in files(tier, _device_name()):
        _put(file, Path("/"))
    _run("systemd-sysusers", f"/etc/sysusers.d/{units.service(tier)}.conf")
    _run("systemd-tmpfiles", "--create", f"/etc/tmpfiles.d/{units.service(tier)}.conf")
    if RUNNING.exists():
        _run("systemctl", "daemon-reload")
    _say("next", f"edit {units.config_path(tier)}, then:")
    _say("", f"sudo systemctl enable --now {units.service(tier)}")
    _say("", f"journalctl -f -u {units.service(tier)}")
    _say("undo", f"sudo {Path(sys.executable).with_name('aiflow')} uninstall {tier}")


def uninstall(tier: str, *, dry_run: bool, root: Path | None) -> None:
    """Stop the service and remove what `install` wrote; what is the owner's stays, and is named.

    With `dry_run` it is only said. Raises ConfigError and AiflowError like `install`.
    """
    name, base = units.service(tier), root or Path("/")
    ours = [_below(base, file.path) for file in files(tier) if file.ours]
    there = [path for path in ours if path.exists()]
    for path in there:
        _refuse_foreign(path)
    live = root is None and not dry_run
    if live:
        _require_root("uninstall")
    if live and there and RUNNING.exists():
        _run("systemctl", "disable", "--now", f"{name}.service")
    for path in there:
        if not dry_run:
            _remove(path)
        _say("would remove" if dry_run else "removed", path)
    if live and RUNNING.exists():
        _run("systemctl", "daemon-reload")
    _say("kept", f"{_below(base, units.config_path(tier))}: your settings, if there are any")
    _say("kept", f"{_below(base, f'/var/lib/{name}')}: what the daemon remembers")
    _say("kept", f"user and group {name}; without them: sudo userdel {name}")


def hidden() -> str | None:
    """Why the service's own user could not start this installation; None if it can."""
    for path in (Path(sys.executable).absolute(), *_homes_of_python()):
        for folder in path.parents:
            shown = folder.stat().st_mode & 0o001
            if not shown or str(folder) in HIDDEN:
                return (
                    f"this aiflow needs {path}, and a service with a user of its own may not enter "
                    f"{folder}; install it elsewhere: sudo python3 -m venv /opt/aiflow"
                )
    return None


def _homes_of_python() -> list[Path]:
    """The interpreter behind a virtual environment, and the package."""
    return [Path(sys.executable).resolve(), Path(__file__).resolve()]


def _put(file: File, root: Path) -> None:
    """Write one file, unless it is the owner's and there; say which."""
    path = _below(root, file.path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.ours:
            _refuse_foreign(path)
            _write(path.with_name(f".{path.name}.new"), file, os.O_TRUNC).replace(path)
        else:
            _write(path, file, os.O_EXCL)
    except FileExistsError:
        _say("kept", f"{path}: it is yours")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from error
    else:
        _say("wrote", path)


def _write(path: Path, file: File, flag: int) -> Path:
    """Never readable by more than `file.mode` allows, not even for a moment."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag, file.mode)
    with os.fdopen(opened, "w", encoding="utf-8") as stream:
        os.fchmod(opened, file.mode)
        stream.write(file.text)
    return path


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise ConfigError(f"{path} cannot be removed: {error.strerror or error}") from error


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.read_text(encoding="utf-8").startswith(units.MARK):
        raise ConfigError(f"{path} was not written by aiflow install; move it away first")


def _below(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _require_root(command: str) -> None:
    if os.geteuid() != 0:
        raise ConfigError(
            f"aiflow {command} changes this system, so it needs sudo; --dry-run only shows it"
        )


def _run(*command: str) -> None:
    """One of systemd's own programs. Raises AiflowError if it fails or is not there."""
    if shutil.which(command[0]) is None:
        raise AiflowError(f"{command[0]} is not installed; aiflow install needs systemd")
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise AiflowError(f"{' '.join(command)} takes too long") from error
    if done.returncode != 0:
        words: Sequence[str] = done.stderr.split() or [f"status {done.returncode}"]
        raise AiflowError(f"{' '.join(command)} failed: {' '.join(words)}")
    _say("ran", " ".join(command))


def _device_name() -> str:
    """This machine's host name, if topics may carry it."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname().partition(".")[0])
    try:
        return check_name("device", name)
    except ConfigError:
        return "device1"


def _say(what: str, about: object) -> None:
    print(f"{what:13} {about}")

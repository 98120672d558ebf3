"""The machine under a tier: versions, clock, service, and who may use the cameras."""

from __future__ import annotations

import ctypes
import grp
import os
import platform
import pwd
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import aiflow
from aiflow.cli import units
from aiflow.cli.doctor.finding import Finding, failed, ok, warning

PACKAGES: Final = ("numpy", "onnxruntime", "ai-edge-litert", "opencv-python-headless", "paho-mqtt")
ERROR_S: Final = 1.0
"""A clock that may be wrong by more makes latencies, and `late`, worthless."""
COMMAND_S: Final = 10.0
_TIMEX_BYTES: Final = 256
"""More than a `struct timex` has (adjtimex(2)); on 64 bits maxerror is at 24."""
_UNSYNCHRONISED: Final = 5  # TIME_ERROR


def versions() -> Finding:
    """For a report to others. That they fit together is pip's business."""
    found = [f"aiflow {aiflow.__version__}", f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ok("versions", f"{', '.join(found)}; {platform.system()} on {platform.machine()}")


def clock() -> Finding:
    """Whether it is set, and kept in time."""
    made = Path(aiflow.__file__).stat().st_mtime
    if time.time() < made - 86_400:
        return failed(
            "clock",
            f"it says {time.strftime('%Y-%m-%d %H:%M')}, which is before this package was put here",
            "set it: sudo timedatectl set-ntp true; a board without a battery needs the network",
        )
    kept, error_s = _kernel_clock()
    if not kept:
        return warning(
            "clock",
            "nothing keeps it in time with others",
            "sudo timedatectl set-ntp true, or install chrony; without it latencies and `late` "
            "are wrong",
        )
    if error_s > ERROR_S:
        return warning(
            "clock",
            f"synchronised, but it may be wrong by {error_s:.1f} s",
            "see `timedatectl timesync-status` or `chronyc tracking`",
        )
    return ok("clock", f"synchronised, wrong by {error_s * 1000:.0f} ms at most")


def _kernel_clock() -> tuple[bool, float]:
    """Whether the kernel counts it as synchronised, and its bound of the error in seconds."""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: only read
    state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    (max_error_us,) = struct.unpack_from("l", timex, 24)
    return state not in {-1, _UNSYNCHRONISED}, max_error_us / 1e6


def service(tier: str) -> Finding | None:
    """State of the service that `aiflow install` makes; None if there is none."""
    state = service_state(tier)
    if state is None:
        return None
    name = units.service(tier)
    active, status = state.get("ActiveState", ""), state.get("StatusText", "")
    if active == "active":
        return ok("service", f"{name} is active{status and f': {status}'}")
    if active == "failed" or state.get("Result") not in {"", "success"}:
        return failed(
            "service",
            f"{name} is {active} ({state.get('Result')}, {state.get('NRestarts')} restarts)",
            f"journalctl -b -u {name}",
        )
    return warning("service", f"{name} is {active}", f"sudo systemctl enable --now {name}")


def service_state(tier: str) -> dict[str, str] | None:
    """What systemd says of a tier's service; None if it does not know it."""
    if shutil.which("systemctl") is None:
        return None
    wanted = "LoadState,ActiveState,Result,NRestarts,StatusText"
    try:
        done = subprocess.run(
            ["systemctl", "show", units.service(tier), f"--property={wanted}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
    except subprocess.TimeoutExpired:
        return None
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    return said if said.get("LoadState") == "loaded" else None


def groups(nodes: Sequence[Path], user: str | None) -> Iterator[Finding]:
    """Whether `user` (None: whoever asks) may open those of these devices that are there."""
    who, theirs = _groups_of(user)
    for node in nodes:
        try:
            found = node.stat()
        except OSError:
            continue
        group = _group_name(found.st_gid)
        may = (found.st_mode & 0o060) == 0o060 and found.st_gid in theirs
        if who == "root" or may or (found.st_mode & 0o006) == 0o006:
            yield ok("groups", f"{who} may open {node}")
        else:
            yield failed(
                "groups",
                f"{who} may not open {node}, which belongs to the group {group}",
                f"sudo usermod -aG {group} {who}, then log in again, or restart the service",
            )


def _groups_of(user: str | None) -> tuple[str, set[int]]:
    if user is None:
        return _user_name(os.geteuid()), {os.getegid(), *os.getgroups()}
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return user, set()
    return user, set(os.getgrouplist(user, entry.pw_gid))


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)

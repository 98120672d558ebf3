"""The systemd files of a tier, as text: its unit, its user, and who may read its configuration.

Each directive of the unit has its reason beside it, here and in the file; `docs/services.md` has
the table. Whatever an owner wants otherwise goes into a drop-in, so the file is ours to replace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

DESCRIPTIONS: Final[Mapping[str, str]] = {
    "device": "AI Flow device: cameras in, embeddings out",
    "edge": "AI Flow edge node: embeddings in, captions out",
    "cloud": "AI Flow cloud worker: drafts in, better captions out",
}
MARK: Final = "# Written by `aiflow install"
"""How a file of ours begins; one that begins otherwise is not touched."""


def service(tier: str) -> str:
    """Name of the service, of its user and of its state directory."""
    return f"aiflow-{tier}"


def config_path(tier: str) -> str:
    """Where the owner's settings are."""
    return f"/etc/aiflow/{tier}.toml"


def unit(tier: str, program: Sequence[str], ports: Sequence[int] = ()) -> str:
    """The unit file; `program` is the command up to the name of the tier.

    `ports` are those that it may listen at.
    """
    name = service(tier)
    command = " ".join(_word(word) for word in (*program, tier, "--config", config_path(tier)))
    return f"""\
{MARK} {tier}`, which replaces it. For changes of your own:
#     sudo systemctl edit {name}

[Unit]
Description={DESCRIPTIONS[tier]}
# It waits for network, broker and cameras by itself; this only spares it the first attempts.
After=network.target mosquitto.service
{_MODULES if tier == "device" else ""}\
# Tried again for ever: nobody may be there to start it by hand.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
SyslogIdentifier={name}
User={name}
Group={name}
# $STATE_DIRECTORY, /var/lib/{name}: what outlives a restart.
StateDirectory={name}
StateDirectoryMode=0700
WorkingDirectory=/var/lib/{name}
UMask=0077
Restart=always
RestartSec=5
# Status 2 is a mistake in the configuration: it does not go away by starting again.
RestartPreventExitStatus=2
TimeoutStopSec=15
# Fed only when every part of the daemon has got on since the last time.
WatchdogSec=60
# When the watchdog ends it, the log shows where each thread stood; pictures in memory stay there.
Environment=PYTHONFAULTHANDLER=1
LimitCORE=0

{_HARDENING}{_listening(ports)}{_DEVICES if tier == "device" else _NO_DEVICES}
[Install]
WantedBy=multi-user.target
"""


def sysusers(tier: str) -> str:
    """For systemd-sysusers: a user and a group of its own; a device's may use cameras."""
    name = service(tier)
    lines = [
        f"{MARK} {tier}`.",
        f'u {name} - "{DESCRIPTIONS[tier].partition(":")[0]}" /var/lib/{name}',
    ]
    if tier == "device":
        lines.append(f"m {name} video")
    return "\n".join([*lines, ""])


def tmpfiles(tier: str) -> str:
    """For systemd-tmpfiles: the configuration may hold a camera's password."""
    return (
        f"{MARK} {tier}`.\n"
        f"d /etc/aiflow 0755 root root -\n"
        f"z {config_path(tier)} 0640 root {service(tier)} -\n"
    )


def _listening(ports: Sequence[int]) -> str:
    lines = [
        "# It listens at the ports that its configuration had at `aiflow install`, and no others.",
        "SocketBindDeny=tcp",
        *(f"SocketBindAllow=tcp:{port}" for port in ports),
    ]
    return "\n".join([*lines, ""])


def _word(word: str) -> str:
    """One word of a command line; systemd expands `%` and `$`, and splits at blanks."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(word) & set(" '\"\\;\t") or not word else escaped


_HARDENING: Final = """\
# No privileges, and no way to any.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
RestrictSUIDSGID=yes
RestrictNamespaces=yes
PrivateUsers=yes
KeyringMode=private
# The file system is read-only but for the state directory; homes and others' /tmp are not there.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateMounts=yes
PrivateIPC=yes
RemoveIPC=yes
# Other processes are not seen. Files like /proc/cpuinfo are: by them the inference runtime finds
# out what an ARM processor can do.
ProtectProc=invisible
ProcSubset=all
# The machine itself.
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
# What ordinary services call, without what needs privileges or changes limits and priorities.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
# MQTT and network cameras, and sockets of this machine. Which addresses is left to you.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
"""

_MODULES: Final = """\
# Kinds of devices are allowed by name below, and the kernel knows a name with its module only: a
# camera that is plugged in later would be refused until the next start.
Wants=modprobe@videodev.service
After=modprobe@videodev.service
"""

_DEVICES: Final = """\
# Cameras and what belongs to them, no other device; its user is in the group video.
DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-media rw
DeviceAllow=char-dma_heap rw
"""

_NO_DEVICES: Final = """\
# No devices but /dev/null and its like.
PrivateDevices=yes
DevicePolicy=closed
"""

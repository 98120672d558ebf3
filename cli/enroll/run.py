"""`aiflow enroll ...`: does it, and says what was written and what comes next."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from aiflow.cli.enroll import FOLDER, broker_files
from aiflow.cli.enroll.broker_files import BrokerFacts
from aiflow.cli.enroll.identities import Identity, Role
from aiflow.common import toml
from aiflow.common.errors import ConfigError

try:
    from aiflow.cli.enroll import authority
    from aiflow.cli.enroll.authority import Authority
    from aiflow.cli.enroll.certificates import check_host
except ModuleNotFoundError as missing:
    if missing.name is None or not missing.name.startswith("cryptography"):
        raise
    raise ConfigError(
        "aiflow enroll needs cryptography, which comes with the extra `enroll`:"
        " pip install 'aiflow-edge[enroll]'"
    ) from missing

RELOAD: Final = "sudo systemctl reload mosquitto"
TEST: Final = (
    f"sudo mosquitto --test-config -c /etc/mosquitto/{broker_files.CONFIGURATION}"
    "   # of Mosquitto 2.1 and later, which a wrong rule stops"
)
RESTART: Final = "sudo systemctl restart mosquitto"
_CONFIGURED_BY: Final = {"viewer": "watch", "operator": "watch"}
"""Whose TOML file it is, where that is not called as the role."""


def init(folder: Path, *, prefix: str, days: int) -> None:
    """Make the authority."""
    authority.create(folder, prefix, days)
    _say("wrote", f"{folder}/: the authority, in a folder that only you may enter")
    _say("keep", f"{folder / authority.KEY}: whoever has it can be any device and the broker;")
    _say("", "away from broker and devices, with a copy in a safe place")
    _say("next", f"aiflow enroll broker --host NAME{_dir(folder)}")


def broker(
    folder: Path,
    *,
    hosts: Sequence[str],
    port: int,
    at: Path,
    state: Path,
    days: int,
    version: broker_files.Version,
) -> None:
    """Make the broker's certificate and its Mosquitto configuration."""
    for path in (at, state):
        if not path.is_absolute() or set(str(path)) & set("\n\r"):
            raise ConfigError(f"{str(path)!r} must be an absolute path, as it is at the broker")
    names = tuple(dict.fromkeys(check_host(host) for host in (hosts or _own_hosts())))
    facts = BrokerFacts(hosts=names, port=port, at=str(at).rstrip("/"), state=str(state))
    with authority.opened(folder) as work:
        made = work.set_up_broker(facts, days, version)
    _say("wrote", f"{made}/: certificate for {', '.join(names)}; configuration; rules")
    _say("next", f"copy {made.name}/ to the broker's machine as {facts.at}, and there:")
    _say("", f"sudo chown -R mosquitto: {facts.at}")
    conf = f"/etc/mosquitto/{broker_files.CONFIGURATION}"
    _say("", f"sudo cp -b {facts.at}/{broker_files.CONFIGURATION} {conf}   # the old one: {conf}~")
    _say("", RESTART)
    _say("", f"then: aiflow enroll edge NAME, aiflow enroll device NAME{_dir(folder)}")


def enrol(folder: Path, identity: Identity, *, days: int) -> None:
    """Make key and certificate of one client."""
    with authority.opened(folder) as work:
        made = work.issue(identity, days)
        settings = toml.text(_settings(work, identity)).strip()
        name = identity.common_name(work.prefix)
        has_broker, resized = work.broker is not None, work.resized
    target = _target(identity.role)
    _say("wrote", f"{made}/: certificate of {name}, its key (mode 0600), and the authority's")
    _say("next", f"copy that folder to its machine as {target}, keep no other copy of the key;")
    if identity.role in {"device", "edge", "cloud"}:
        _say("", f"sudo chown -R aiflow-{identity.role}: {target}   # the user of the service")
    _say("", f"in its {_CONFIGURED_BY.get(identity.role, identity.role)}.toml:")
    print("\n" + settings + "\n")
    if has_broker:
        _tell_broker(folder, resized=resized)
    else:
        _say("then", f"aiflow enroll broker --host NAME{_dir(folder)}: there is none yet")


def revoke(folder: Path, name: str, role: Role | None) -> None:
    """Let one client in no more."""
    with authority.opened(folder) as work:
        entry, aside = work.revoke(name, role)
        common_name = entry.identity.common_name(work.prefix)
        has_broker, resized = work.broker is not None, work.resized
    _say("revoked", f"{common_name}, serial {entry.serial}; its files are now {aside}/")
    if has_broker:
        _tell_broker(folder, resized=resized)
        _say("", "only then: an open connection can do nothing any more, and none can be opened")


def pictures(folder: Path, device: str, *, allowed: bool) -> None:
    """Let a device that is enrolled send pictures, or no more."""
    with authority.opened(folder) as work:
        work.allow_pictures(device, allowed=allowed)
        has_broker, resized = work.broker is not None, work.resized
    _say("allowed" if allowed else "barred", f"pictures of device {device}, once the broker knows")
    if has_broker:
        _tell_broker(folder, resized=resized)
    if allowed:
        _say("next", "on the device: allow_images = true, and what sends them (docs/security.md)")


def show(folder: Path) -> None:
    """List all certificates."""
    with authority.opened(folder) as work:
        entries, prefix = work.entries, work.prefix
    now = dt.datetime.now(dt.UTC)
    for entry in entries:
        state = f"until {entry.until:%Y-%m-%d}"
        if entry.revoked is not None:
            state = f"revoked {entry.revoked:%Y-%m-%d}"
        elif entry.until < now:
            state = f"ended {entry.until:%Y-%m-%d}"
        identity = entry.identity
        may = ", pictures" if identity.pictures else ""
        name = identity.common_name(prefix)
        print(f"{identity.role:9} {identity.label:24} {state:19} {name}{may}")
    if not entries:
        _say("nobody", f"is enrolled yet: aiflow enroll device NAME{_dir(folder)}")


def _settings(work: Authority, identity: Identity) -> dict[str, toml.Value]:
    """What belongs into the TOML file of that client."""
    own: dict[str, toml.Value] = {}
    if identity.role == "device":
        own["device"] = identity.name
    elif identity.role == "edge":
        own |= {"node": identity.name, "pool": identity.pool}
    elif identity.role == "cloud":
        own |= {"pool": identity.pool, "worker": identity.name}
    target, facts = _target(identity.role), work.broker
    own["broker"] = {
        "host": facts.hosts[0] if facts is not None else "...",
        "port": facts.port if facts is not None else 8883,
        "ca_file": f"{target}/{authority.CERTIFICATE}",
        "cert_file": f"{target}/{authority.CLIENT_CERTIFICATE}",
        "key_file": f"{target}/{authority.CLIENT_KEY}",
        "prefix": None if work.prefix == "aiflow" else work.prefix,
    }
    return own


def _target(role: Role) -> str:
    """Where the folder of a client is on its machine."""
    return f"/etc/aiflow/{role}"


def _tell_broker(folder: Path, *, resized: bool) -> None:
    names = f"{broker_files.ACCESS} and {broker_files.REVOKED}"
    _say("rewrote", f"{folder / 'broker'}/: {names}; copy both to the broker, and there:")
    _say("", TEST)
    _say("", RELOAD)
    if resized:
        name = broker_files.CONFIGURATION
        _say("rewrote", f"{folder / 'broker' / name}: max_packet_size only; set the same in that")
        _say("", f"of the broker (or copy it), and there: {RESTART}")


def _own_hosts() -> tuple[str, ...]:
    """Of this machine, if certificates may carry its name; for a broker that runs on it."""
    try:
        name = check_host(socket.gethostname().partition(".")[0])
    except ConfigError:
        return ("localhost", "127.0.0.1")
    return (f"{name}.local", name, "localhost", "127.0.0.1")


def _dir(folder: Path) -> str:
    """The option by which the next command finds the authority; nothing where it is the default."""
    return "" if folder == FOLDER else f" --dir {folder}"


def _say(what: str, about: object) -> None:
    print(f"{what:9} {about}")

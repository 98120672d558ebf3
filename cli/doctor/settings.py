"""What `aiflow doctor` is to look at, out of any tier's configuration."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from aiflow.cli import units
from aiflow.cli.doctor.machine import service_state
from aiflow.cloud.config import CloudConfig
from aiflow.common.config import Broker, Section, load
from aiflow.device.config import CameraConfig, DeviceConfig, outbox_path
from aiflow.device.config import read_key as read_device_key
from aiflow.edge.config import EdgeConfig, ledger_path
from aiflow.edge.config import read_key as read_edge_key

MODELS: Final[dict[str, type[Section]]] = {
    "device": DeviceConfig,
    "edge": EdgeConfig,
    "cloud": CloudConfig,
}


@dataclass(frozen=True, slots=True)
class TierSettings:
    """What doctor looks at, out of any tier's configuration."""

    tier: str
    bundles: tuple[str, ...] = ()
    """Names or paths; none: all built-in ones."""
    runtime: str = "onnx"
    threads: int = 1
    provider: str = "cpu"
    broker: Broker = field(default_factory=Broker)
    cameras: tuple[CameraConfig, ...] = ()
    store: Path | None = None
    read_keys: Callable[[], object] = lambda: None
    """Raises ConfigError if the file of a key is not right."""
    user: str | None = None
    """Whose rights count; None: those of whoever asks."""
    running: bool = False
    """A daemon has its cameras, its certificate and its store at this moment."""


def read_settings(tier: str, path: Path | None, *, installed: bool) -> TierSettings:
    """Read a tier's settings; `installed`: they are those of its service. Raises ConfigError."""
    config = load(MODELS[tier], path)
    known = TierSettings(tier, user=units.service(tier) if installed else None)
    state = service_state(tier) if installed else None
    running = state is not None and state.get("ActiveState") == "active"
    match config:
        case DeviceConfig():
            store = _kept(tier, outbox_path(config), config.outbox.path, installed=installed)
            return replace(
                known,
                bundles=(config.bundle_name,),
                runtime=config.runtime,
                threads=config.threads,
                provider=config.provider,
                broker=config.broker,
                cameras=config.camera,
                store=store,
                read_keys=lambda: read_device_key(config.key_file),
                running=running or _in_use(store),
            )
        case EdgeConfig():
            return replace(
                known,
                bundles=() if config.bundle is None else (config.bundle,),
                threads=config.threads,
                broker=config.broker,
                store=_kept(tier, ledger_path(config), config.ledger, installed=installed),
                read_keys=lambda: [read_edge_key(*key) for key in config.device_keys.items()],
                running=running,
            )
        case CloudConfig():
            return replace(
                known,
                bundles=() if config.bundle is None else (config.bundle,),
                threads=config.threads,
                broker=config.broker,
                running=running,
            )
    raise TypeError(tier)


def _kept(tier: str, default: Path, given: Path | None, *, installed: bool) -> Path:
    """Where the service, which has a state directory of its own, keeps it."""
    if given is None and installed:
        return Path(f"/var/lib/{units.service(tier)}") / default.name
    return default


def _in_use(store: Path) -> bool:
    """Whether a device's daemon has this outbox: it holds the lock beside it."""
    try:
        lock = os.open(store.with_name(f"{store.name}.lock"), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False

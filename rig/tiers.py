"""The three tiers as processes of their own: their configuration files and commands.

device --- link (counted) --- broker --- edge, cloud
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aiflow.common import toml
from aiflow.common.config import Broker
from aiflow.rig.child import Child

DemoMode = Literal["auto", "cascade", "split", "device", "image"]
ENVIRONMENT_PREFIX: Final = "AIFLOW_"
# -P: nothing in the caller's folder is mistaken for a module.
_AIFLOW: Final = (sys.executable, "-P", "-m", "aiflow")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the tiers of one run need to know. Names are those of their topics."""

    broker: Broker
    device_broker: Broker
    """The same broker, by way of the link."""
    uri: str
    fps: float
    cloud_broker: Broker | None = None
    """The same broker by another way, if the cloud is far away."""
    bundle: str | None = None
    """As its settings have it: unset, by the camera."""
    mode: DemoMode = "auto"
    device: str = "demo"
    camera: str = "street"
    node: str = "demo"
    pool: str = "demo"
    camera_enabled: bool = True
    log_level: str = "info"
    dashboard_port: int | None = None
    """Of the edge node's page; without one it has none."""
    pictures: Path | None = None
    """Folder where a synthetic camera leaves its frames for that page."""

    @property
    def dashboard_url(self) -> str:
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def tiers(self) -> tuple[str, ...]:
        """In mode device the edge node only passes on what the device says."""
        alone = self.mode in {"split", "device"}
        return ("device", "edge") if alone else ("device", "edge", "cloud")


def tier_processes(plan: Plan, folder: Path) -> dict[str, Child]:
    """Write the tiers' configuration files into `folder`; their processes, not yet started.

    Outbox and ledger lie in the same folder, so that a tier that is started again goes on.
    """
    settings = {
        "device": _device_settings(plan, folder),
        "edge": _edge_settings(plan, folder),
        "cloud": _cloud_settings(plan),
    }
    return {
        tier: tier_process(tier, toml.text(settings[tier]), folder, plan.log_level)
        for tier in plan.tiers
    }


def tier_process(tier: str, configuration: str, folder: Path, log_level: str = "info") -> Child:
    """One tier with this configuration, as `aiflow TIER --config FILE` in a process of its own."""
    path = folder / f"{tier}.toml"
    path.write_text(configuration, encoding="utf-8")
    return Child(
        tier,
        [*_AIFLOW, tier, "--config", str(path), "--log-level", log_level],
        folder / f"{tier}.log",
        _environment(os.environ),
    )


def _device_settings(plan: Plan, folder: Path) -> Mapping[str, toml.Value]:
    return {
        "device": plan.device,
        "bundle": plan.bundle,
        "mode": plan.mode,
        **({"allow_images": True} if plan.mode == "image" else {}),
        "broker": _broker(plan.device_broker),
        "camera": [
            {
                "name": plan.camera,
                "uri": plan.uri,
                "fps": plan.fps,
                "enabled": plan.camera_enabled,
            }
        ],
        "outbox": {"path": folder / "outbox.sqlite"},
    }


def _edge_settings(plan: Plan, folder: Path) -> Mapping[str, toml.Value]:
    return {
        "node": plan.node,
        "bundle": plan.bundle,
        "pool": plan.pool,
        "ledger": folder / "ledger.sqlite",
        "broker": _broker(plan.broker),
        "dashboard": {
            "enabled": plan.dashboard_port is not None,
            "port": plan.dashboard_port,
            "pictures": plan.pictures,
        },
    }


def _cloud_settings(plan: Plan) -> Mapping[str, toml.Value]:
    return {
        "pool": plan.pool,
        "bundle": plan.bundle,
        "broker": _broker(plan.cloud_broker or plan.broker),
    }


def _broker(broker: Broker) -> toml.Table:
    fields: dict[str, toml.Scalar] = broker.model_dump(exclude_defaults=True)
    return fields


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Without settings meant for other daemons of this user, which would win over the files."""
    return {
        name: value for name, value in inherited.items() if not name.startswith(ENVIRONMENT_PREFIX)
    }

"""Settings of an edge node. Reads device key files; the TOML is `aiflow.common.config`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from aiflow.common.config import Broker, Metrics, Section, fit_name, hex_key, state_file
from aiflow.edge.dashboard.config import DashboardConfig


class EdgeConfig(Section):
    """Everything that the owner of an edge node may set.

    One edge node per broker and prefix: two would both caption every frame.
    """

    node: str = Field(default="edge1", description="name of this node, in its topics")
    broker: Broker = Field(default=Broker(), description="the MQTT broker")
    bundle: str = Field(default="street", min_length=1, description="built-in name, or a path")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="processor threads for decoding"
    )
    batch_max: Annotated[int, Field(ge=1, le=256)] = Field(
        default=16, description="most frames decoded at once"
    )
    max_waiting: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=256,
        description="most frames waiting to be decoded; beyond it a camera's oldest one goes, "
        "and its device sends it again",
    )
    max_streams: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=1024, description="most cameras; beyond it newcomers are refused"
    )
    late_after_s: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="age in seconds, on arrival, from which a frame counts as late"
    )
    receipt_every_s: Annotated[float, Field(ge=0, le=4)] = Field(
        default=2.0, description="receipts of one camera are gathered for so many seconds at most"
    )
    stats_every_s: Annotated[float, Field(ge=1)] = Field(
        default=60.0, description="seconds between two messages of statistics"
    )
    ledger: Path | None = Field(
        default=None,
        description="SQLite file of what has been captioned; unset, edge-<node>.sqlite in "
        "$STATE_DIRECTORY or ~/.local/state/aiflow",
    )
    pool: str = Field(default="default", description="pool of cloud workers to ask")
    threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None, description="ask the cloud below this confidence; unset, as the bundle says"
    )
    cloud_deadline_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=2.0, description="seconds to wait for the cloud before it is asked once more"
    )
    escalations_per_minute: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=120, description="most questions to the cloud in a minute; 0 asks it never"
    )
    refines_per_minute: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=60,
        description="most orders in a minute for layers that devices had not sent at once; 0 for "
        "none",
    )
    max_pending: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=64, description="most questions to the cloud unanswered at one time"
    )
    device_keys: dict[str, Path] = Field(
        default_factory=dict,
        description="device name to the file of its key, in hex; such a device must sign",
    )
    metrics: Metrics = Field(default=Metrics(), description="whether Prometheus may read figures")
    dashboard: DashboardConfig = Field(
        default=DashboardConfig(), description="the page that shows what happens"
    )

    @field_validator("node")
    @classmethod
    def _node_is_fit(cls, node: str) -> str:
        return fit_name("node", node)

    @field_validator("pool")
    @classmethod
    def _pool_is_fit(cls, pool: str) -> str:
        return fit_name("pool", pool)

    @field_validator("device_keys")
    @classmethod
    def _devices_are_fit(cls, keys: dict[str, Path]) -> dict[str, Path]:
        for device in keys:
            fit_name("device", device)
        return keys


def read_key(device: str, path: Path) -> bytes:
    """The key of a device from its file: hexadecimal, blanks around it ignored.

    Raises ConfigError.
    """
    return hex_key(path, f"key of {device}: {path}")


def ledger_path(config: EdgeConfig) -> Path:
    """Where the ledger is, by configuration or by the conventions of systemd and of a user."""
    if config.ledger is not None:
        return config.ledger
    return state_file(f"edge-{config.node}.sqlite")

"""Who is there: devices with their cameras, and edge nodes. Pure.

States are words of their topics (`online`, `offline`, `disabled`), or None before one has come.
What comes beyond the bounds below is not listed; `unlisted` counts how often.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Final, TypeVar

from aiflow.common.messages import Descriptor, DeviceStats, EdgeStats, Value

MAX_DEVICES: Final = 256
MAX_CAMERAS: Final = 512
MAX_NODES: Final = 32
STATES: Final = frozenset({"online", "offline"})
CAMERA_STATES: Final = STATES | {"disabled"}
_STAGES: Final = ("gate_ms", "encode_ms", "decode_ms")

K = TypeVar("K")
P = TypeVar("P")


@dataclass(slots=True)
class DeviceEntry:
    """What a device says of itself."""

    state: str | None = None
    software: str | None = None
    waiting: int | None = None
    """Frames in its outbox, as of its last statistics."""


@dataclass(slots=True)
class CameraEntry:
    """What is known of one camera; `captioned_at` is the capture time of its latest caption."""

    state: str | None = None
    enabled: str | None = None
    frames: int = 0
    captioned_at: float | None = None
    facts: dict[str, Value] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def synthetic(self) -> bool:
        return self.facts.get("synthetic") is True


@dataclass(slots=True)
class NodeEntry:
    """An edge node; `cloud_rest_s` > 0: it leaves the cloud alone, which has not answered."""

    state: str | None = None
    software: str | None = None
    cloud_rest_s: float = 0.0
    pending: int = 0


class Places:
    """All devices, cameras and edge nodes that have said something."""

    def __init__(self) -> None:
        self.devices: dict[str, DeviceEntry] = {}
        self.cameras: dict[tuple[str, str], CameraEntry] = {}
        self.nodes: dict[str, NodeEntry] = {}
        self.unlisted = 0

    def device(self, name: str) -> DeviceEntry:
        return self._known(self.devices, name, DeviceEntry, MAX_DEVICES)

    def camera(self, device: str, name: str) -> CameraEntry:
        return self._known(self.cameras, (device, name), CameraEntry, MAX_CAMERAS)

    def node(self, name: str) -> NodeEntry:
        return self._known(self.nodes, name, NodeEntry, MAX_NODES)

    def forget_device(self, name: str) -> None:
        """Its retained state was removed: somebody has put it out of service."""
        self.devices.pop(name, None)
        for key in [key for key in self.cameras if key[0] == name]:
            del self.cameras[key]

    def described(self, descriptor: Descriptor) -> None:
        camera = self.camera(descriptor.device, descriptor.camera)
        camera.facts = {
            "width": descriptor.width,
            "height": descriptor.height,
            "synthetic": descriptor.synthetic,
            "bundle": descriptor.bundle_name,
            "mode": descriptor.mode,
        }

    def device_stats(self, stats: DeviceStats) -> None:
        device = self.device(stats.device)
        device.software = stats.software
        device.waiting = _whole(stats.values.get("outbox_entries"))
        for name, values in stats.cameras.items():
            known = self.cameras.get((stats.device, name))
            if known is not None:
                known.stages = {
                    stage.removesuffix("_ms"): round(float(values[stage]), 2)
                    for stage in _STAGES
                    if isinstance(values.get(stage), int | float)
                }

    def node_stats(self, stats: EdgeStats) -> None:
        node = self.node(stats.node)
        node.software = stats.software
        rest = stats.values.get("cloud_rest_seconds")
        node.cloud_rest_s = float(rest) if isinstance(rest, int | float) else 0.0
        node.pending = _whole(stats.values.get("escalations_pending")) or 0

    def to_json(self) -> dict[str, object]:
        return {
            "devices": [{"name": name} | asdict(one) for name, one in sorted(self.devices.items())],
            "cameras": [
                {"device": device, "name": name} | asdict(one)
                for (device, name), one in sorted(self.cameras.items())
            ],
            "nodes": [{"name": name} | asdict(one) for name, one in sorted(self.nodes.items())],
            "unlisted": self.unlisted,
        }

    def _known(self, among: dict[K, P], key: K, kind: type[P], most: int) -> P:
        """The one of that name, listed if there is room."""
        place = among.get(key)
        if place is None:
            place = kind()
            if len(among) < most:
                among[key] = place
            else:
                self.unlisted += 1
        return place


def _whole(value: Value | None) -> int | None:
    return int(value) if isinstance(value, int | float) else None

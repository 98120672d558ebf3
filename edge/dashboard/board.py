"""What the page shows, fed by messages. Pure but for the sizes of pictures, which are given.

Nothing that comes by MQTT is trusted: what cannot be read is counted, names must be those of the
topic, and everything that is kept is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiflow.common.errors import PayloadError
from aiflow.common.messages import Caption, Descriptor, DeviceStats, EdgeStats
from aiflow.common.topics import Topics
from aiflow.edge.dashboard.figures import Figures
from aiflow.edge.dashboard.lines import Line, Lines
from aiflow.edge.dashboard.places import CAMERA_STATES, STATES, Places
from aiflow.edge.dashboard.troubles import Troubles

JpegBytes = Callable[[float], int | None]
SWITCH: Final = frozenset({"ON", "OFF"})


def _unknown(_timestamp_s: float) -> int | None:
    return None


class Board:
    """One thread's; `take` messages, and read `changes`, `state` or all of it, `snapshot`."""

    def __init__(
        self,
        topics: Topics,
        jpeg_bytes: JpegBytes = _unknown,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`jpeg_bytes` gives the size of a synthetic camera's frame by its capture time."""
        self._topics = topics
        self._jpeg_bytes = jpeg_bytes
        self._clock = clock
        self._wall = wall
        self._figures = Figures()
        self._lines = Lines()
        self._places = Places()
        self._troubles = Troubles()
        self.unreadable = 0

    def take(self, topic: str, payload: bytes) -> None:
        """Take one message of any topic that `filters` names."""
        try:
            known = self._take(topic, payload)
        except PayloadError:
            known = False
        if not known:
            self.unreadable += 1

    def changes(self) -> list[dict[str, object]]:
        """Lines that are new or refined since the last call."""
        return self._lines.changes()

    def lines(self) -> list[dict[str, object]]:
        """All lines, oldest first."""
        return self._lines.all()

    def state(self, *, connected: bool) -> dict[str, object]:
        """Everything but the lines; `connected`: our own connection to the broker."""
        wall = self._wall()
        return {
            "connected": connected,
            "figures": self._figures.to_json(self._clock()),
            "shares": self._lines.shares(),
            "places": self._places.to_json(),
            "troubles": self._troubles.to_json(self._places, wall, connected=connected),
            "unreadable": self.unreadable,
        }

    def _take(self, topic: str, payload: bytes) -> bool:
        """False for what makes no sense."""
        camera = self._topics.parse(topic)
        if camera is not None:
            return self._camera(*camera, payload)
        device = self._topics.parse_device(topic)
        if device is not None:
            return self._device(*device, payload)
        node = self._topics.parse_edge(topic)
        return node is not None and self._node(*node, payload)

    def _camera(self, device: str, name: str, leaf: str, payload: bytes) -> bool:
        if not payload:  # a retained state that was removed
            if leaf in {"status", "descriptor"}:
                self._places.cameras.pop((device, name), None)
            return True
        if leaf == "event":
            return self._event(device, name, Caption.from_json(payload))
        if leaf == "descriptor":
            descriptor = Descriptor.from_json(payload)
            if (descriptor.device, descriptor.camera) != (device, name):
                return False
            self._places.described(descriptor)
            return True
        word = payload[:16].decode(errors="replace")
        if leaf == "status" and word in CAMERA_STATES:
            self._places.camera(device, name).state = word
        elif leaf == "enabled/state" and word in SWITCH:
            self._places.camera(device, name).enabled = word
        else:
            return False
        return True

    def _event(self, device: str, name: str, caption: Caption) -> bool:
        if (caption.device, caption.camera) != (device, name):
            return False
        line = self._lines.get(caption.id)
        if caption.type == "trigger":  # it repeats a caption, whose line is there if we heard it
            if line is not None and caption.trigger is not None:
                self._lines.fired(line, caption.trigger)
        elif line is None:
            self._new(caption)
        elif _is_news(line, caption):
            self._figures.more(self._clock(), self._lines.refine(line, caption))
        return True

    def _new(self, caption: Caption) -> None:
        camera = self._places.camera(caption.device, caption.camera)
        camera.frames += 1
        camera.captioned_at = max(caption.timestamp, camera.captioned_at or 0.0)
        jpeg = self._jpeg_bytes(caption.timestamp) if camera.synthetic else None
        # A frame that waited in an outbox tells how long the network was away, not how fast we are.
        latency_s = None if caption.late else caption.latency_s.total
        self._figures.frame(self._clock(), caption.bytes.uplink, jpeg, latency_s)
        self._lines.add(caption, jpeg)

    def _device(self, name: str, leaf: str, payload: bytes) -> bool:
        if leaf == "stats":
            stats = DeviceStats.from_json(payload)
            if stats.device != name:
                return False
            self._places.device_stats(stats)
            self._troubles.counted(name, stats.counters, self._wall())
            return True
        word = payload[:16].decode(errors="replace")
        if not payload:
            self._places.forget_device(name)
        elif word in STATES:
            self._places.device(name).state = word
        else:
            return False
        return True

    def _node(self, name: str, leaf: str, payload: bytes) -> bool:
        if leaf == "stats":
            stats = EdgeStats.from_json(payload)
            if stats.node != name:
                return False
            self._places.node_stats(stats)
            self._troubles.counted(name, stats.counters, self._wall())
            return True
        word = payload[:16].decode(errors="replace")
        if not payload:
            self._places.nodes.pop(name, None)
        elif leaf == "available" and word in STATES:
            self._places.node(name).state = word
        else:
            return False
        return True


def filters(topics: Topics) -> tuple[str, ...]:
    """What a board wants to hear. None of them overlaps another."""
    return (
        topics.any_available,
        topics.any_device_stats,
        topics.any_edge_available,
        topics.any_edge_stats,
        topics.any_status,
        topics.any_descriptor,
        topics.any_event,
        f"{topics.prefix}/+/+/enabled/state",
    )


def _is_news(line: Line, caption: Caption) -> bool:
    """An update, unless it says again what the line says; a second `new` one is a repetition."""
    known = line.caption
    said = (caption.text, caption.tier, caption.confidence)
    return caption.type == "update" and said != (known.text, known.tier, known.confidence)

"""The device, put together: cameras, outbox, courier and one MQTT session. Knows no signals.

capture, stream   two threads per camera
courier           outbox -> broker
network           orders, receipts, edge nodes
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Final, Self

from aiflow.common.bundle import Bundle
from aiflow.common.errors import AiflowError, StorageError
from aiflow.common.exposition import Reading
from aiflow.common.messages import DeviceStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Outgoing, Properties, Session, Will, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import KeyFrameOrder, unpack_receipt, unpack_refine_order
from aiflow.device.assembly import Assembly, software
from aiflow.device.capture import Process
from aiflow.device.config import CameraConfig, DeviceConfig
from aiflow.device.courier import Courier
from aiflow.device.discovery import Discovery
from aiflow.device.launch import launch
from aiflow.device.line import Line
from aiflow.device.outbox import Outbox
from aiflow.device.stream import Encodes
from aiflow.device.unit import CameraUnit

log = logging.getLogger(__name__)

MAX_QUEUED: Final = 512
CLOSE_S: Final = 1.0
"""How long a closing device waits for its cameras, and for the broker's last acks."""


class Device:
    """Everything of one device, between `start` and `stop`; used with `with`."""

    def __init__(
        self,
        config: DeviceConfig,
        bundle: Bundle,
        encoder: Encodes,
        outbox: Outbox,
        counters: Counters,
        on_fatal: Callable[[AiflowError], None],
        launch: Callable[[CameraConfig], Process] = launch,
    ) -> None:
        """`on_fatal` is told, on any thread, what the device cannot go on with.

        `launch` starts a process of a camera.

        Raises ConfigError when the configuration does not fit bundle or files.
        """
        self._config = config
        self._outbox = outbox
        self._counters = counters
        self._on_fatal = on_fatal
        self._topics = Topics(config.broker.prefix)
        self._began = time.monotonic()
        self.hangs = False
        """After `stop`: a thread of a camera could not be ended."""
        fallback = config.fallback
        line = (
            Line(unanswered_s=fallback.unanswered_s, deadline_s=fallback.deadline_s)
            if config.mode == "auto"
            else None
        )
        self._courier = courier = Courier(counters, self._on_storage_fault, line)
        self._session = Session(
            config.broker,
            f"{config.broker.prefix}-device-{config.device}",
            will=Will(self._topics.available(config.device), b"offline"),
            on_connect=courier.connected,
            on_disconnect=courier.disconnected,
            max_queued=MAX_QUEUED,
            counters=counters,
        )
        assembly = Assembly(config, bundle, encoder, outbox, self._session, courier, counters)
        self._cameras = {
            camera.name: assembly.camera(camera, launch, self._on_storage_fault)
            for camera in config.camera
        }
        for name, parts in self._cameras.items():
            courier.add(name, parts.sender, parts.reach)
        told = config.home_assistant
        self._discovery = None
        if told.enabled is not None:
            self._discovery = Discovery(
                self._session,
                self._topics,
                config.device,
                self._cameras,
                prefix=told.prefix,
                wanted=told.enabled,
                max_interval_s=config.gate.max_interval_s,
                pictured=[one.name for one in config.camera if one.snapshot_every_s is not None],
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to connect and to look; waits for neither."""
        topics, device, session = self._topics, self._config.device, self._session
        session.announce(topics.available(device), b"online")
        session.subscribe(topics.any_edge_available, 1, self._on_edge)
        for name, parts in self._cameras.items():
            session.subscribe(topics.receipt(device, name), 0, partial(self._on_receipt, name))
            session.subscribe(topics.refine(device, name), 1, partial(self._on_refine, name))
            session.subscribe(topics.enabled_set(device, name), 1, partial(_on_enable, parts.unit))
        if self._discovery is not None:
            self._discovery.start()
        self._courier.start()
        session.start()
        for camera in self._config.camera:
            self._cameras[camera.name].unit.start(enabled=camera.enabled)

    def stop(self) -> None:
        """Stop the cameras, say goodbye, disconnect. What is in the outbox stays there."""
        units = [parts.unit for parts in self._cameras.values()]
        for unit in units:
            unit.stop()
        deadline = time.monotonic() + CLOSE_S
        ended = [unit.join(max(0.0, deadline - time.monotonic())) for unit in units]
        self.hangs = not all(ended)
        self._courier.stop()
        if self._discovery is not None:
            self._discovery.stop()
        self._session.announce(self._topics.available(self._config.device), b"offline")
        self._session.close(CLOSE_S)

    def publish_stats(self) -> None:
        topic = self._topics.device_stats(self._config.device)
        self._session.publish(Outgoing(topic, self.stats().to_json()))

    def stats(self) -> DeviceStats:
        """Counters since the start, present values, and mean stage times since the last call."""
        return DeviceStats(
            device=self._config.device,
            timestamp=time.time(),
            uptime_s=time.monotonic() - self._began,
            software=software(),
            counters=self._counters.snapshot(),
            values={
                "outbox_entries": self._outbox.entries,
                "outbox_bytes": self._outbox.payload_bytes,
                "connected": self._session.connected,
                **(self._courier.line.stats() if self._courier.line is not None else {}),
            },
            cameras={
                name: parts.unit.stats() | {"within_reach": parts.reach.why is None}
                for name, parts in self._cameras.items()
            },
        )

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        yield Reading("aiflow_connected", self._session.connected)
        yield Reading("aiflow_outbox_entries", self._outbox.entries)
        yield Reading("aiflow_outbox_bytes", self._outbox.payload_bytes)
        for name, parts in self._cameras.items():
            within_reach = parts.reach.why is None
            yield Reading("aiflow_camera_within_reach", within_reach, {"camera": name})
            yield from parts.unit.readings()

    # What the watchdog asks.

    def ask(self) -> None:
        """Want a turn of every thread. A camera is not asked: it has its own time."""
        self._courier.ask()
        for parts in self._cameras.values():
            parts.unit.ask()

    def silent(self) -> list[str]:
        """Which parts have not come around since.

        A camera that fails or hangs is none of them: its process is ended and started again, and
        the service's restart could do no more. The thread that sees to that is one.
        """
        silent = [name for parts in self._cameras.values() for name in parts.unit.silent]
        if self._courier.pulse.silent:
            silent.append("courier")
        if self._session.stuck:
            silent.append("network")
        return silent

    def status(self) -> str:
        """For `systemctl status`."""
        online = sum(parts.unit.online for parts in self._cameras.values())
        broker = "connected" if self._session.connected else "no broker"
        cameras = f"{online} of {len(self._cameras)} cameras online"
        return f"{cameras}; {broker}; {self._outbox.entries} frames wait"

    # What the network thread hears: each only hands on.

    def _on_edge(self, topic: str, payload: bytes, _properties: Properties) -> None:
        said = self._topics.parse_edge(topic)
        if said is not None:
            self._courier.node(said[0], online=payload == b"online")

    def _on_receipt(self, camera: str, topic: str, payload: bytes, _: Properties) -> None:
        self._cameras[camera].budget.spend(publish_size(len(topic.encode()), len(payload)))
        self._courier.receipt(camera, unpack_receipt(payload))

    def _on_refine(self, camera: str, topic: str, payload: bytes, _: Properties) -> None:
        self._cameras[camera].budget.spend(publish_size(len(topic.encode()), len(payload), qos=1))
        order = unpack_refine_order(payload)
        if isinstance(order, KeyFrameOrder):
            self._counters.add("aiflow_refine_orders_total", answer="key")
            self._courier.key_frames(camera)
        else:
            self._cameras[camera].unit.slot.order(order)

    def _on_storage_fault(self, fault: StorageError) -> None:
        """A corrupt outbox stays corrupt; anything else, like a full disk, may pass."""
        if self._outbox.damaged:
            self._on_fatal(fault)


def _on_enable(unit: CameraUnit, _topic: str, payload: bytes, _properties: Properties) -> None:
    unit.enable_order(payload)

"""The device, put together: cameras, send loop and one MQTT session. Knows no signals.

camera         one thread each: capture -> pipeline -> uplink -> broker
send loop      outbox -> broker, what could not go at once
network        orders, receipts, edge nodes
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Final, Self

from aiflow.common.bundle import Bundle
from aiflow.common.encoder import Encoder
from aiflow.common.errors import AiflowError, StorageError
from aiflow.common.exposition import Reading
from aiflow.common.messages import DeviceStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Outgoing, Properties, Session, Will, publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import KeyFrameOrder, unpack_receipt, unpack_refine_order
from aiflow.device.assembly import Assembly, software
from aiflow.device.camera_unit import CameraUnit
from aiflow.device.capture import Process
from aiflow.device.config import CameraConfig, DeviceConfig
from aiflow.device.discovery import Discovery
from aiflow.device.edge_health import EdgeHealth, HealthLimits
from aiflow.device.launch import launch
from aiflow.device.outbox import Outbox
from aiflow.device.send_loop import SendLoop

MAX_QUEUED: Final = 512
CLOSE_S: Final = 1.0
"""How long a closing device waits for its cameras, and for the broker's last acks."""


class Device:
    """Everything of one device, between `start` and `stop`; used with `with`."""

    def __init__(
        self,
        config: DeviceConfig,
        bundle: Bundle,
        encoder: Encoder,
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
        self._health = EdgeHealth(
            [camera.name for camera in config.camera],
            HealthLimits(**config.fallback.model_dump()),
            measures=config.mode == "auto",
            now=self._began,
        )
        self._session = Session(
            config.broker,
            f"{config.broker.prefix}-device-{config.device}",
            will=Will(self._topics.available(config.device), b"offline"),
            on_connect=self._on_connect,
            on_disconnect=self._on_disconnect,
            max_queued=MAX_QUEUED,
            counters=counters,
        )
        work = threading.Event()
        assembly = Assembly(
            config,
            bundle,
            encoder,
            outbox=outbox,
            session=self._session,
            health=self._health,
            work=work,
            counters=counters,
        )
        self._cameras = {
            camera.name: assembly.camera(camera, launch, self._on_storage_fault)
            for camera in config.camera
        }
        self._send_loop = SendLoop(
            {name: parts.uplink for name, parts in self._cameras.items()},
            self._health,
            work,
            counters,
            self._on_storage_fault,
        )
        self._discovery = self._announced()

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
        self._send_loop.start()
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
        self._send_loop.stop()
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
                **(self._health.stats() if self._config.mode == "auto" else {}),
            },
            cameras={
                name: parts.unit.stats() | {"within_reach": self._within_reach(name)}
                for name, parts in self._cameras.items()
            },
        )

    def readings(self) -> Iterator[Reading]:
        """Present values, for Prometheus."""
        yield Reading("aiflow_connected", self._session.connected)
        yield Reading("aiflow_outbox_entries", self._outbox.entries)
        yield Reading("aiflow_outbox_bytes", self._outbox.payload_bytes)
        for name, parts in self._cameras.items():
            yield Reading("aiflow_camera_within_reach", self._within_reach(name), {"camera": name})
            yield from parts.unit.readings()
            for step, count in (("sent", parts.uplink.sent), ("sent_again", parts.uplink.resent)):
                yield Reading("aiflow_frames_total", count, {"camera": name, "step": step})

    # What the watchdog asks.

    def ask(self) -> None:
        """Want a turn of every thread. A camera is not asked: it has its own time."""
        self._send_loop.ask()
        for parts in self._cameras.values():
            parts.unit.ask()

    def silent(self) -> list[str]:
        """Which parts have not come around since.

        A camera that fails or hangs is none of them: its process is ended and started again, and
        the service's restart could do no more. The thread that sees to that is one.
        """
        units = (parts.unit for parts in self._cameras.values())
        silent = [f"camera {unit.name}" for unit in units if unit.silent]
        if self._send_loop.pulse.silent:
            silent.append("send loop")
        if self._session.stuck:
            silent.append("network")
        return silent

    def status(self) -> str:
        """For `systemctl status`."""
        online = sum(parts.unit.online for parts in self._cameras.values())
        broker = "connected" if self._session.connected else "no broker"
        cameras = f"{online} of {len(self._cameras)} cameras online"
        return f"{cameras}; {broker}; {self._outbox.entries} frames wait"

    def _within_reach(self, camera: str) -> bool:
        return self._health.why(camera, time.monotonic()) is None

    def _announced(self) -> Discovery | None:
        """What tells Home Assistant of the cameras, if the owner has said whether it should."""
        config, wanted = self._config, self._config.home_assistant
        if wanted.enabled is None:
            return None
        return Discovery(
            self._session,
            self._topics,
            config.device,
            self._cameras,
            prefix=wanted.prefix,
            wanted=wanted.enabled,
            max_interval_s=config.gate.max_interval_s,
            pictured=[one.name for one in config.camera if one.snapshot_every_s is not None],
        )

    # What the network thread hears: each is short.

    def _on_connect(self) -> None:
        self._send_loop.connected()

    def _on_disconnect(self) -> None:
        self._send_loop.disconnected()

    def _on_edge(self, topic: str, payload: bytes, _properties: Properties) -> None:
        said = self._topics.parse_edge(topic)
        if said is not None:
            self._send_loop.node(said[0], online=payload == b"online")

    def _on_receipt(self, camera: str, topic: str, payload: bytes, _: Properties) -> None:
        parts = self._cameras[camera]
        parts.budget.spend(publish_size(len(topic.encode()), len(payload)))
        receipt = unpack_receipt(payload)
        self._health.delayed(receipt.delay_s)
        parts.uplink.receipt(receipt.ranges)

    def _on_refine(self, camera: str, topic: str, payload: bytes, _: Properties) -> None:
        parts = self._cameras[camera]
        parts.budget.spend(publish_size(len(topic.encode()), len(payload), qos=1))
        order = unpack_refine_order(payload)
        if isinstance(order, KeyFrameOrder):
            self._counters.add("aiflow_refine_orders_total", answer="key")
            parts.uplink.key_frames()
        else:
            parts.unit.order(order)

    def _on_storage_fault(self, fault: StorageError) -> None:
        """A corrupt outbox stays corrupt; anything else, like a full disk, may pass."""
        if self._outbox.damaged:
            self._on_fatal(fault)


def _on_enable(unit: CameraUnit, _topic: str, payload: bytes, _properties: Properties) -> None:
    unit.enable_order(payload)

"""The device, put together: cameras, outbox, courier and one MQTT session. Knows no signals.

capture, stream   two threads per camera
courier           outbox -> broker
network           orders, receipts, edge nodes
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Literal, Self

from aiflow import __version__
from aiflow.common.bundle import Bundle
from aiflow.common.errors import AiflowError, ConfigError, StorageError
from aiflow.common.messages import Descriptor, DeviceStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties, Session, Will
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, unpack_receipt, unpack_refine_order
from aiflow.device.camera import Camera, Source, open_camera
from aiflow.device.config import CameraConfig, DeviceConfig, read_key
from aiflow.device.courier import Courier
from aiflow.device.gate import Gate
from aiflow.device.outbox import Outbox
from aiflow.device.sender import Sender
from aiflow.device.shelf import Shelf
from aiflow.device.stream import Coding, Encodes, Stream
from aiflow.device.unit import CameraUnit
from aiflow.device.voice import Voice

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
    ) -> None:
        """`on_fatal` is told, on any thread, what the device cannot go on with.

        Raises ConfigError when the configuration does not fit bundle or files.
        """
        self._config = config
        self._bundle = bundle
        self._outbox = outbox
        self._counters = counters
        self._on_fatal = on_fatal
        self._topics = Topics(config.broker.prefix)
        self._key = read_key(config.key_file)
        self._layers = _layers(config.layers, bundle)
        self._began = time.monotonic()
        self.hangs = False
        """After `stop`: a thread could not be ended, as its camera hangs."""
        self._courier = courier = Courier(counters, self._on_storage_fault)
        self._session = Session(
            config.broker,
            f"{config.broker.prefix}-device-{config.device}",
            will=Will(self._topics.available(config.device), b"offline"),
            on_connect=courier.connected,
            on_disconnect=courier.disconnected,
            max_queued=MAX_QUEUED,
            counters=counters,
        )
        self._units = {camera.name: self._assemble(camera, encoder) for camera in config.camera}

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
        for name, unit in self._units.items():
            session.subscribe(topics.receipt(device, name), 0, partial(self._on_receipt, name))
            session.subscribe(topics.refine(device, name), 1, partial(_on_refine, unit))
            session.subscribe(topics.enabled_set(device, name), 1, partial(_on_enable, unit))
        self._courier.start()
        session.start()
        for camera in self._config.camera:
            self._units[camera.name].start(enabled=camera.enabled)

    def stop(self) -> None:
        """Stop the cameras, say goodbye, disconnect. What is in the outbox stays there."""
        units = list(self._units.values())
        for unit in units:
            unit.stop()
        deadline = time.monotonic() + CLOSE_S
        ended = [unit.join(max(0.0, deadline - time.monotonic())) for unit in units]
        self.hangs = not all(ended)
        self._courier.stop()
        self._session.announce(self._topics.available(self._config.device), b"offline")
        self._session.close(CLOSE_S)

    def publish_stats(self) -> None:
        topic = self._topics.device_stats(self._config.device)
        self._session.publish(topic, self.stats().to_json())

    def stats(self) -> DeviceStats:
        """Counters since the start, present values, and mean stage times since the last call."""
        return DeviceStats(
            device=self._config.device,
            timestamp=time.time(),
            uptime_s=time.monotonic() - self._began,
            software=_software(),
            counters=self._counters.snapshot(),
            values={
                "outbox_entries": self._outbox.entries,
                "outbox_bytes": self._outbox.payload_bytes,
                "connected": self._session.connected,
            },
            cameras={name: unit.stats() for name, unit in self._units.items()},
        )

    # What the network thread hears: each only hands on.

    def _on_edge(self, topic: str, payload: bytes, _properties: Properties) -> None:
        said = self._topics.parse_edge(topic)
        if said is not None:
            self._courier.node(said[0], online=payload == b"online")

    def _on_receipt(
        self, camera: str, _topic: str, payload: bytes, _properties: Properties
    ) -> None:
        self._courier.receipt(camera, unpack_receipt(payload))

    def _on_storage_fault(self, fault: StorageError) -> None:
        """A corrupt outbox stays corrupt; anything else, like a full disk, may pass."""
        if self._outbox.damaged:
            self._on_fatal(fault)

    # Putting together.

    def _assemble(self, camera: CameraConfig, encoder: Encodes) -> CameraUnit:
        config, name, key = self._config, camera.name, self._key
        identity = f"{config.device} {self._bundle.id} {_authentication(key)}"
        state = self._outbox.begin(name, identity, time.time_ns() // 1_000_000)
        voice = Voice(
            self._session,
            self._topics,
            config.device,
            name,
            counters=self._counters,
            expiry_s=config.sending.expiry_s,
            describe=partial(self._descriptor, camera, state.epoch_ms),
        )
        if state.descriptor is not None:
            log.info("camera %s: %d frames wait in the outbox", name, state.waiting)
            voice.say_descriptor(state.descriptor)
        shelf = Shelf(self._outbox, name, self._courier.wake)
        self._courier.add(name, self._sender(shelf, voice))
        return CameraUnit(
            name,
            partial(_open, camera),
            self._stream(name, state.epoch_ms, encoder, shelf),
            voice,
            stall_s=camera.stall_s + 1 / camera.fps,
            counters=self._counters,
            on_storage_fault=self._on_storage_fault,
        )

    def _stream(self, camera: str, epoch_ms: int, encoder: Encodes, shelf: Shelf) -> Stream:
        coding = Coding(
            self._bundle.tables,
            self._bundle.tag,
            Context(self._config.device, camera, epoch_ms, self._key),
            self._layers,
        )
        gate = Gate(**self._config.gate.model_dump())
        return Stream(gate, encoder, coding, shelf, self._counters)

    def _sender(self, shelf: Shelf, voice: Voice) -> Sender:
        sending = self._config.sending
        return Sender(
            shelf,
            lambda entry: voice.embedding(entry.payload),
            window=sending.window,
            resend_after_s=sending.resend_after_s,
            resend_max_s=sending.resend_max_s,
        )

    def _descriptor(
        self, camera: CameraConfig, epoch_ms: int, width: int, height: int
    ) -> Descriptor:
        bundle = self._bundle
        return Descriptor(
            device=self._config.device,
            camera=camera.name,
            bundle=bundle.id,
            bundle_name=bundle.manifest.name,
            tokens=bundle.tokens,
            dims=bundle.dims,
            levels=bundle.levels,
            layers=bundle.layers,
            epoch_ms=epoch_ms,
            authentication=_authentication(self._key),
            width=width,
            height=height,
            synthetic=Source.parse(camera.uri).origin == "synthetic",
            software=_software(),
        )


def _on_refine(unit: CameraUnit, _topic: str, payload: bytes, _properties: Properties) -> None:
    unit.slot.order(unpack_refine_order(payload))


def _on_enable(unit: CameraUnit, _topic: str, payload: bytes, _properties: Properties) -> None:
    unit.enable_order(payload)


def _open(camera: CameraConfig) -> Camera:
    return open_camera(camera.uri, camera.fps, camera.width, camera.height)


def _layers(wanted: int | None, bundle: Bundle) -> int:
    """How many layers of each frame are sent at once."""
    there = len(bundle.layers)
    if wanted is not None and wanted > there:
        name = bundle.manifest.name
        raise ConfigError(f"layers = {wanted}, but bundle {name} has {there}; lower it or unset it")
    return wanted or there


def _authentication(key: bytes | None) -> Literal["crc16", "blake2s-64"]:
    return "crc16" if key is None else "blake2s-64"


def _software() -> str:
    return f"aiflow {__version__}"

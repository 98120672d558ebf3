"""How a camera's parts are put together. Opens no camera and starts no thread.

stream ─> shelf ─> outbox ─> sender ─> voice ─> session
   └──────── budget ────────────┘
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from aiflow import __version__
from aiflow.common.bundle import Bundle
from aiflow.common.errors import ConfigError, StorageError
from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Session
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, Why
from aiflow.device.budget import Budget
from aiflow.device.camera import Source
from aiflow.device.capture import Limits, Process
from aiflow.device.config import CameraConfig, DeviceConfig, read_key
from aiflow.device.courier import Courier
from aiflow.device.gate import Gate
from aiflow.device.herald import Herald
from aiflow.device.local import TIER, Fallback, Nano
from aiflow.device.outbox import Entry, Outbox
from aiflow.device.pixels import Pixels
from aiflow.device.predictor import Predictor
from aiflow.device.reach import Patience, Reach
from aiflow.device.sender import Publishes, Sender, Tells
from aiflow.device.shelf import Shelf
from aiflow.device.snapshots import Snapshots
from aiflow.device.stages import Stages
from aiflow.device.stream import Coding, Encodes, Stream
from aiflow.device.unit import CameraUnit
from aiflow.device.voice import Voice

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """One camera: what takes its frames in, what sends them, and what they may cost."""

    unit: CameraUnit
    sender: Sender
    budget: Budget
    reach: Reach


class Assembly:
    """What all cameras of a device have in common."""

    def __init__(
        self,
        config: DeviceConfig,
        bundle: Bundle,
        encoder: Encodes,
        outbox: Outbox,
        session: Session,
        courier: Courier,
        counters: Counters,
    ) -> None:
        """Raises ConfigError when the configuration does not fit bundle or files."""
        self._courier = courier
        self._config = config
        self._bundle = bundle
        self._encoder = encoder
        self._outbox = outbox
        self._session = session
        self._counters = counters
        self._topics = Topics(config.broker.prefix)
        self._key = read_key(config.key_file)
        said, least = config.gate.symbols, bundle.manifest.encoder.gate_symbols
        self._least_symbols = least if said is None else said
        self._layers = _layers(config.layers, bundle)
        self._nano = _nano(config, bundle)
        self._pixels = _pixels(config)

    def camera(
        self,
        camera: CameraConfig,
        launch: Callable[[CameraConfig], Process],
        on_storage_fault: Callable[[StorageError], None],
    ) -> Parts:
        """Go on with the camera's session or begin one. Raises StorageError, ConfigError."""
        name, sending, courier = camera.name, self._config.sending, self._courier
        on_told = partial(courier.published, name)
        state = self._outbox.begin(name, self._identity(), time.time_ns() // 1_000_000)
        context = Context(self._config.device, name, state.epoch_ms, self._key)
        voice = self._voice(camera, state.epoch_ms)
        if state.descriptor is not None:
            log.info("camera %s: %d frames wait in the outbox", name, state.waiting)
            voice.say_descriptor(state.descriptor)
        budget = Budget(
            camera.budget_bytes_s,
            layers=self._layers,
            symbols=self._least_symbols,
            now=time.monotonic(),
        )
        shelf = Shelf(self._outbox, name, courier.wake)
        patience = Patience(
            **self._config.fallback.model_dump(include={"offline_s", "silence_s", "return_s"})
        )
        reach = Reach(name, patience)
        stream = self._stream(camera, context, budget, shelf, reach)
        unit = CameraUnit(
            name,
            partial(launch, camera),
            stream,
            voice,
            snapshots=_snapshots(camera, voice, allowed=self._config.allow_images),
            limits=_limits(camera),
            counters=self._counters,
            on_storage_fault=on_storage_fault,
        )
        sender = Sender(
            shelf,
            _paid(voice, budget, courier, stream.stages),
            Predictor(self._bundle.tables, context, key_every_s=sending.key_every_s),
            tell=_told(
                Herald(self._session, self._topics, context, self._bundle.id, on_told), budget
            ),
            window=sending.window,
            resend_after_s=sending.resend_after_s,
            resend_max_s=sending.resend_max_s,
        )
        return Parts(unit, sender, budget, reach)

    def _stream(
        self, camera: CameraConfig, context: Context, budget: Budget, shelf: Shelf, reach: Reach
    ) -> Stream:
        fallback = _fallback(self._config.mode, self._nano, reach, self._courier.captioned)
        tables, tag = self._bundle.tables, self._bundle.tag
        coding = Coding(tables, tag, context, camera.budget_bytes_frame, fallback, self._pixels)
        gate = Gate(**self._config.gate.model_dump(exclude={"symbols"}))
        return Stream(gate, budget, self._encoder, coding, shelf, self._counters)

    def _voice(self, camera: CameraConfig, epoch_ms: int) -> Voice:
        return Voice(
            self._session,
            self._topics,
            self._config.device,
            camera.name,
            counters=self._counters,
            expiry_s=self._config.sending.expiry_s,
            allow_images=self._config.allow_images,
            describe=partial(self._descriptor, camera, epoch_ms),
        )

    def _identity(self) -> str:
        """Whatever a payload is bound to besides camera and session; of the key a fingerprint."""
        identity = f"{self._config.device} {self._bundle.id} {_authentication(self._key)}"
        if self._config.allow_images:
            identity += " images"  # without them no frame of a session that had some is sent
        if self._key is None:
            return identity
        return f"{identity} {hashlib.sha256(b'aiflow key ' + self._key).hexdigest()[:16]}"

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
            mode=self._config.mode,
            synthetic=Source.parse(camera.uri).origin == "synthetic",
            software=software(),
        )


def software() -> str:
    """How this program calls itself."""
    return f"aiflow {__version__}"


def _limits(camera: CameraConfig) -> Limits:
    watched = camera.frozen_s > 0 and Source.parse(camera.uri).live
    return Limits(
        stall_s=camera.stall_s + 1 / camera.fps,
        frozen_s=camera.frozen_s if watched else math.inf,
        reopen_frozen=camera.reopen_frozen,
    )


def _paid(voice: Voice, budget: Budget, courier: Courier, stages: Stages) -> Publishes:
    """Publishing at the budget's cost, timed; some frames measure the line."""
    line = courier.line

    def publish(payload: bytes, *, first: bool, ask_broker: bool) -> bool:
        now = time.monotonic()
        with stages.measure("publish"):
            if line is None or not first or not line.wants(now):
                size = voice.embedding(payload, ask_broker=ask_broker)
            else:
                answered = partial(courier.answered, line.ask(now))
                size = voice.embedding(payload, ask_broker=ask_broker, on_accepted=answered)
                if size == 0:
                    line.lost()
        if size == 0:
            return False
        if first:
            budget.sent(size)
        else:
            budget.spend(size)
        return True

    return publish


def _told(herald: Herald, budget: Budget) -> Tells:
    """Publishing captions at the budget's cost."""

    def tell(entry: Entry) -> bool | None:
        size = herald.tell(entry)
        if size:
            budget.sent(size)
        return None if size is None else size > 0

    return tell


def _layers(wanted: int | None, bundle: Bundle) -> int:
    """How many layers of each frame are sent at once."""
    there = len(bundle.layers)
    if wanted is not None and wanted > there:
        name = bundle.manifest.name
        raise ConfigError(f"layers = {wanted}, but bundle {name} has {there}; lower it or unset it")
    return wanted or there


def _nano(config: DeviceConfig, bundle: Bundle) -> Nano | None:
    """The decoder for captions of the device's own, where the bundle has one."""
    if TIER in bundle.manifest.decoders:
        return Nano(bundle, config.threads)
    if config.mode == "device":
        name = bundle.manifest.name
        raise ConfigError(f"mode = device, but bundle {name} has no decoder {TIER}; use split")
    return None


def _pixels(config: DeviceConfig) -> Pixels | None:
    if config.mode != "image":
        return None
    return Pixels(allowed=config.allow_images, what="mode = image", **config.image.model_dump())


def _snapshots(camera: CameraConfig, voice: Voice, *, allowed: bool) -> Snapshots | None:
    if camera.snapshot_every_s is None:
        return None
    return Snapshots(camera.name, camera.snapshot_every_s, voice.snapshot, allowed=allowed)


def _fallback(
    mode: str, nano: Nano | None, reach: Reach, took: Callable[[float], None]
) -> Fallback | None:
    if nano is None or mode in {"split", "cascade", "image"}:
        return None
    return Fallback(nano, lambda: Why.ASKED if mode == "device" else reach.why, took)


def _authentication(key: bytes | None) -> Literal["crc16", "blake2s-64"]:
    return "crc16" if key is None else "blake2s-64"

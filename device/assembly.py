"""How a camera's parts are put together. Opens no camera and starts no thread.

capture ─> pipeline ─> uplink ─> outbox, topics ─> session
              └─ budget ─┘
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from aiflow import __version__
from aiflow.common.bundle import Bundle
from aiflow.common.encoder import Encoder
from aiflow.common.errors import ConfigError, StorageError
from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Session
from aiflow.common.topics import Topics
from aiflow.device.budget import Budget
from aiflow.device.camera import Source
from aiflow.device.camera_topics import CameraTopics
from aiflow.device.camera_unit import CameraUnit
from aiflow.device.capture import Limits, Process
from aiflow.device.compress import Compressor
from aiflow.device.config import CameraConfig, DeviceConfig, read_key
from aiflow.device.edge_health import EdgeHealth
from aiflow.device.gate import Gate
from aiflow.device.local_caption import TIER, LocalCaptions, Nano
from aiflow.device.outbox import Outbox
from aiflow.device.pipeline import Coding, Fallback, Pipeline
from aiflow.device.pixels import Pixels
from aiflow.device.snapshots import Snapshots
from aiflow.device.stages import Stages
from aiflow.device.uplink import Sending, Uplink


@dataclass(frozen=True, slots=True)
class Parts:
    """One camera: what takes its frames in, what sends them, and what they may cost."""

    unit: CameraUnit
    uplink: Uplink
    budget: Budget


class Assembly:
    """What all cameras of a device have in common."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        config: DeviceConfig,
        bundle: Bundle,
        encoder: Encoder,
        *,
        outbox: Outbox,
        session: Session,
        health: EdgeHealth,
        work: threading.Event,
        counters: Counters,
    ) -> None:
        """Raises ConfigError when the configuration does not fit bundle or files."""
        self._config = config
        self._bundle = bundle
        self._encoder = encoder
        self._outbox = outbox
        self._session = session
        self._health = health
        self._work = work
        self._counters = counters
        self._topics = Topics(config.broker.prefix)
        self._key = read_key(config.key_file)
        self._layers = _layers(config.layers, bundle)
        self._fallback = _fallback(config, bundle, health)
        self._pixels = _pixels(config)

    def camera(
        self,
        camera: CameraConfig,
        launch: Callable[[CameraConfig], Process],
        on_storage_fault: Callable[[StorageError], None],
    ) -> Parts:
        """Go on with the camera's session or begin one. Raises StorageError, ConfigError."""
        config, stages = self._config, Stages()
        topics = CameraTopics(
            self._session,
            self._topics,
            config.device,
            camera.name,
            counters=self._counters,
            expiry_s=config.sending.expiry_s,
            allow_images=config.allow_images,
        )
        budget = Budget(
            camera.budget_bytes_s,
            layers=self._layers,
            symbols=_least_symbols(config, self._bundle),
            now=time.monotonic(),
        )
        coding = Coding(
            self._bundle.tables,
            self._bundle.tag,
            config.device,
            camera.name,
            self._key,
            camera.budget_bytes_frame,
        )
        uplink = self._uplink(coding, topics, budget, stages)
        pipeline = Pipeline(
            Gate(**config.gate.model_dump(exclude={"symbols"})),
            budget,
            self._encoder,
            coding,
            uplink=uplink,
            stages=stages,
            counters=self._counters,
            fallback=self._fallback,
            pixels=self._pixels,
        )
        unit = CameraUnit(
            camera.name,
            partial(launch, camera),
            pipeline,
            topics,
            lambda width, height: self._descriptor(camera, uplink.epoch_ms, width, height),
            snapshots=_snapshots(camera, topics, allowed=config.allow_images),
            limits=_limits(camera),
            counters=self._counters,
            on_storage_fault=on_storage_fault,
        )
        return Parts(unit, uplink, budget)

    def _uplink(
        self, coding: Coding, topics: CameraTopics, budget: Budget, stages: Stages
    ) -> Uplink:
        sending = self._config.sending

        def compressor(epoch_ms: int) -> Compressor:
            context = coding.context(epoch_ms)
            return Compressor(
                coding.tables, coding.bundle_tag, context, key_every_s=sending.key_every_s
            )

        return Uplink(
            coding.camera,
            self._identity(),
            outbox=self._outbox,
            topics=topics,
            local=LocalCaptions(
                self._session, self._topics, coding.device, coding.camera, self._bundle.id
            ),
            health=self._health,
            budget=budget,
            stages=stages,
            sending=Sending(sending.window, sending.resend_after_s, sending.resend_max_s),
            compressor=compressor,
            work=self._work,
        )

    def _identity(self) -> str:
        """Whatever a payload is bound to besides camera and session; of the key a fingerprint."""
        identity = f"{self._config.device} {self._bundle.id} {_authentication(self._key)}"
        if self._config.allow_images:
            identity += " images"  # without them no frame of a session that had some is sent
        if self._key is None:
            return identity
        return f"{identity} {hashlib.sha256(b'aiflow key ' + self._key).hexdigest()[:16]}"

    def _descriptor(self, camera: CameraConfig, epoch_ms: int, width: int, height: int) -> bytes:
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
        ).to_json()


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


def _least_symbols(config: DeviceConfig, bundle: Bundle) -> int:
    """How many symbols must have changed: what the owner says, or the bundle."""
    said = config.gate.symbols
    return bundle.manifest.encoder.gate_symbols if said is None else said


def _layers(wanted: int | None, bundle: Bundle) -> int:
    """How many layers of each frame are sent at once."""
    there = len(bundle.layers)
    if wanted is not None and wanted > there:
        name = bundle.manifest.name
        raise ConfigError(f"layers = {wanted}, but bundle {name} has {there}; lower it or unset it")
    return wanted or there


def _fallback(config: DeviceConfig, bundle: Bundle, health: EdgeHealth) -> Fallback | None:
    """Captions of the device's own, where the mode wants them and the bundle can."""
    if config.mode not in {"auto", "device"}:
        return None
    if TIER in bundle.manifest.decoders:
        return Fallback(Nano(bundle, config.threads), health, always=config.mode == "device")
    if config.mode == "device":
        name = bundle.manifest.name
        raise ConfigError(f"mode = device, but bundle {name} has no decoder {TIER}; use split")
    return None


def _pixels(config: DeviceConfig) -> Pixels | None:
    if config.mode != "image":
        return None
    return Pixels(allowed=config.allow_images, what="mode = image", **config.image.model_dump())


def _snapshots(camera: CameraConfig, topics: CameraTopics, *, allowed: bool) -> Snapshots | None:
    if camera.snapshot_every_s is None:
        return None
    return Snapshots(camera.name, camera.snapshot_every_s, topics.snapshot, allowed=allowed)


def _authentication(key: bytes | None) -> Literal["crc16", "blake2s-64"]:
    return "crc16" if key is None else "blake2s-64"

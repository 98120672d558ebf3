"""Settings of a device. Reads the file of its key; the TOML is `aiflow.common.config`'s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from aiflow.common.config import Broker, Metrics, Section, fit_name, hex_key, state_file
from aiflow.common.errors import ConfigError
from aiflow.common.topics import Topics
from aiflow.device.camera.source import Source


class CameraConfig(Section):
    """One `[[camera]]`."""

    name: str = Field(description="name of the camera, in its topics")
    uri: str = Field(
        description="synthetic:street, a device number or /dev/videoN, picamera2:N, gst:PIPELINE, "
        "an rtsp or http URL, a video file or a folder of images"
    )
    fps: Annotated[float, Field(gt=0, le=120)] = Field(
        default=2.0, description="most frames taken from it in a second"
    )
    width: Annotated[int, Field(ge=16, le=65_535)] | None = Field(
        default=None, description="width in pixels to ask the camera for"
    )
    height: Annotated[int, Field(ge=16, le=65_535)] | None = Field(
        default=None, description="height in pixels to ask the camera for"
    )
    enabled: bool = Field(default=True, description="whether it is on when the device starts")
    stall_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=3.0, description="silence in seconds, over its own pace, that counts as a stall"
    )
    frozen_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=60.0,
        description="seconds in which a live camera's picture stays the same to the bit that count "
        "as a frozen view; 0 for never",
    )
    reopen_frozen: bool = Field(
        default=True, description="whether a camera is opened anew, once, when its view has frozen"
    )
    snapshot_every_s: Annotated[float, Field(ge=1, le=86_400)] | None = Field(
        default=None,
        description="a small picture of a captioned frame for people to see, as in Home Assistant, "
        "at most one in so many seconds, if allow_images; unset, none",
    )
    budget_bytes_s: Annotated[float, Field(ge=1)] | None = Field(
        default=None,
        description="bytes a second that it may cost on average, MQTT and receipts included; "
        "unset, as many as it takes",
    )
    budget_bytes_frame: Annotated[int, Field(ge=16, le=4096)] | None = Field(
        default=None,
        description="payload bytes that one frame may cost; beyond it layers are left out",
    )

    @field_validator("name")
    @classmethod
    def _name_is_fit(cls, name: str) -> str:
        return fit_name("camera", name)

    @field_validator("uri", mode="before")
    @classmethod
    def _uri_may_be_a_number(cls, uri: object) -> object:
        return str(uri) if type(uri) is int else uri

    @field_validator("uri")
    @classmethod
    def _uri_is_fit(cls, uri: str) -> str:
        try:
            Source.parse(uri)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return uri


class GateConfig(Section):
    """Which frames are new enough to be sent."""

    pixel_mean: Annotated[float, Field(ge=0, le=255)] = Field(
        default=2.0, description="mean change of a 32x24 grey thumbnail, in grey levels"
    )
    pixel_peak: Annotated[float, Field(ge=0, le=255)] = Field(
        default=12.0, description="or the greatest change of one of its pixels, in grey levels"
    )
    symbols: Annotated[int, Field(ge=0, le=4096)] | None = Field(
        default=None,
        description="and how many symbols must have changed; unset, as the bundle says",
    )
    max_interval_s: Annotated[float, Field(gt=0)] = Field(
        default=30.0, description="a still scene is sent again after so many seconds"
    )


class OutboxConfig(Section):
    """Where frames wait until a receipt covers them."""

    path: Path | None = Field(
        default=None,
        description="SQLite file; unset, outbox-<device>.sqlite in $STATE_DIRECTORY or "
        "~/.local/state/aiflow",
    )
    max_entries: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=20_000, description="most frames kept; beyond it the oldest go, counted"
    )
    max_bytes: Annotated[int, Field(ge=4096)] = Field(
        default=16_777_216, description="most payload bytes kept; beyond it the oldest go, counted"
    )


class SendingConfig(Section):
    """How frames leave the outbox."""

    window: Annotated[int, Field(ge=1, le=64)] = Field(
        default=64, description="most frames of one camera sent and not yet covered by a receipt"
    )
    resend_after_s: Annotated[float, Field(gt=0)] = Field(
        default=5.0, description="seconds without a receipt until a frame is sent again"
    )
    resend_max_s: Annotated[float, Field(gt=0)] = Field(
        default=60.0, description="that pause doubles each time, up to this"
    )
    key_every_s: Annotated[float, Field(ge=0)] = Field(
        default=60.0,
        description="a key frame is sent at least so often; in between, differences; 0 sends none",
    )
    expiry_s: Annotated[int, Field(ge=1, le=4_294_967_294)] = Field(
        default=60, description="how long a broker may keep a frame that was sent with QoS 1"
    )


class FallbackConfig(Section):
    """When a device in mode auto captions by itself."""

    offline_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=1.0, description="seconds without a connection, or without any edge node"
    )
    silence_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=5.0,
        description="seconds in which nothing that was sent got a receipt; longer than the edge "
        "node's receipt_every_s",
    )
    unanswered_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=0.8,
        description="seconds without an acknowledgement by the broker; where its answers usually "
        "take longer than a third of it, three times as long as they do",
    )
    deadline_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=2.0,
        description="seconds from encoding to the edge node's caption; beyond it, as measured, the "
        "device is faster",
    )
    return_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=2.0, description="seconds without trouble until the edge node captions again"
    )


class ImageConfig(Section):
    """Pictures, where the owner lets them leave."""

    quality: Annotated[int, Field(ge=10, le=100)] = Field(
        default=75, description="quality of their JPEG"
    )
    max_width: Annotated[int, Field(ge=16, le=4096)] = Field(
        default=640, description="width in pixels to which wider frames are reduced"
    )


class HomeAssistantConfig(Section):
    """Whether Home Assistant finds the cameras by itself."""

    enabled: bool | None = Field(
        default=None,
        description="true: announce the cameras; false: take back what was announced; unset, "
        "nothing is read or written there",
    )
    prefix: str = Field(
        default="homeassistant",
        description="discovery prefix, as it is set in Home Assistant's MQTT integration",
    )

    @field_validator("prefix")
    @classmethod
    def _prefix_is_fit(cls, prefix: str) -> str:
        try:
            return Topics(prefix).prefix
        except ConfigError as error:
            raise ValueError(str(error)) from error


class DeviceConfig(Section):
    """Everything that the owner of a device may set."""

    device: str = Field(description="name of this device, in its topics")
    broker: Broker = Field(default=Broker(), description="the MQTT broker")
    bundle: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="built-in name, or a path; unset, `photo`, or `street` if no camera is real",
    )
    runtime: Literal["onnx", "litert"] = Field(default="onnx", description="inference runtime")
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="processor threads for the encoder"
    )
    provider: Literal["cpu", "cuda", "tensorrt"] = Field(
        default="cpu", description="where runtime onnx computes, if its build and the board have it"
    )
    layers: Annotated[int, Field(ge=1, le=15)] | None = Field(
        default=None, description="how many layers of tokens to send at once; unset, all"
    )
    mode: Literal["auto", "device", "split", "cascade", "image"] = Field(
        default="auto",
        description="who captions: device: this device alone; split: device and edge; cascade: "
        "device, edge and cloud; auto: cascade, and this device when no edge node is within reach; "
        "image: the edge, from pictures, if allow_images",
    )
    camera: tuple[CameraConfig, ...] = Field(
        min_length=1, max_length=64, description="the cameras, each a [[camera]] section"
    )
    gate: GateConfig = Field(default=GateConfig(), description="which frames are sent")
    outbox: OutboxConfig = Field(default=OutboxConfig(), description="where they wait")
    sending: SendingConfig = Field(default=SendingConfig(), description="how they leave")
    fallback: FallbackConfig = Field(
        default=FallbackConfig(), description="when mode auto captions on the device"
    )
    home_assistant: HomeAssistantConfig = Field(
        default=HomeAssistantConfig(), description="whether Home Assistant finds the cameras"
    )
    key_file: Path | None = Field(
        default=None,
        description="file of the device's key, in hex; payloads then carry a MAC, and the edge "
        "node needs the same key",
    )
    allow_images: bool = Field(
        default=False,
        description="whether pixels may leave the device: in mode image, and as snapshots",
    )
    image: ImageConfig = Field(default=ImageConfig(), description="pictures of mode image")
    metrics: Metrics = Field(default=Metrics(), description="whether Prometheus may read figures")
    stats_every_s: Annotated[float, Field(ge=1)] = Field(
        default=60.0, description="seconds between two messages of statistics"
    )

    @property
    def bundle_name(self) -> str:
        """The bundle that is named; else that of real pictures, or of the drawn street."""
        drawn = all(Source.parse(camera.uri).origin == "synthetic" for camera in self.camera)
        return self.bundle or ("street" if drawn else "photo")

    @field_validator("device")
    @classmethod
    def _device_is_fit(cls, device: str) -> str:
        return fit_name("device", device)

    @field_validator("camera")
    @classmethod
    def _cameras_differ(cls, cameras: tuple[CameraConfig, ...]) -> tuple[CameraConfig, ...]:
        names = [camera.name for camera in cameras]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two cameras are called {name!r}; names must differ")
        return cameras

    @model_validator(mode="after")
    def _runtime_has_the_provider(self) -> Self:
        if self.runtime != "onnx" and self.provider != "cpu":
            raise ValueError(f"provider = {self.provider} is for runtime = onnx; take one of both")
        return self


def read_key(path: Path | None) -> bytes | None:
    """The device's key from its file: hexadecimal, blanks around it ignored.

    Raises ConfigError.
    """
    return None if path is None else hex_key(path, f"key file {path}")


def outbox_path(config: DeviceConfig) -> Path:
    """Where the outbox is, by configuration or by the conventions of systemd and of a user."""
    if config.outbox.path is not None:
        return config.outbox.path
    return state_file(f"outbox-{config.device}.sqlite")

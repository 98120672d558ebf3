"""Settings of an edge node. Reads device key files; the TOML is `aiflow.common.config`'s."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import Field, field_validator, model_validator

from aiflow.common.config import Broker, Metrics, Section, fit_name, hex_key, state_file
from aiflow.common.topics import Topics
from aiflow.edge.dashboard.config import DashboardConfig

Words = tuple[Annotated[str, Field(min_length=1, max_length=100)], ...]
WORDS_LAST_S: Final = 1.0
"""A condition on words has to last so long, unless the owner says otherwise."""


class TriggerConfig(Section):
    """One thing to look for: an event when it begins."""

    name: str = Field(description="its name, in events and metrics: letters, digits, `-` and `_`")
    cameras: tuple[str, ...] = Field(
        default_factory=tuple,
        max_length=1024,
        description="the cameras that it is about, each as device/camera; unset, all",
    )
    all: Words = Field(
        default_factory=tuple, max_length=32, description="words or phrases, each in the caption"
    )
    any: Words = Field(
        default_factory=tuple, max_length=32, description="of these at least one is in it"
    )
    none: Words = Field(default_factory=tuple, max_length=32, description="of these none is in it")
    like: str | None = Field(
        default=None,
        description="instead of words: name of an example of `aiflow trigger learn`",
    )
    similarity: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.96, description="how much a frame must be like the example"
    )
    min_confidence: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="a caption that is less sure says nothing"
    )
    for_s: Annotated[float, Field(ge=0, le=3600)] | None = Field(
        default=None,
        description="fires once every caption of so many seconds has met its condition, 0 with the "
        "first; unset, 1 with words and 0 with `like`",
    )
    hold_off_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=10.0,
        description="fires again only after its condition has not been met for so many seconds",
    )
    active: str | None = Field(
        default=None,
        description="hours in which it is met at all, local time, as in 22:00-06:00; unset, always",
    )
    late: bool = Field(
        default=False, description="whether captions of frames that came late fire, too"
    )

    @property
    def lasting_s(self) -> float:
        """What `for_s` comes to. One caption may slip; likeness to an example rarely does."""
        if self.for_s is not None:
            return self.for_s
        return WORDS_LAST_S if self.like is None else 0.0

    @field_validator("name", "like")
    @classmethod
    def _names_are_fit(cls, name: str | None) -> str | None:
        return None if name is None else trigger_name(name)

    @model_validator(mode="after")
    def _means_something(self) -> Self:
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"trigger {self.name}: {error}") from error
        return self

    def _check(self) -> None:
        words = self.all or self.any or self.none
        if not words and self.like is None:
            raise ValueError("there is no condition; give all, any, none or like")
        if words and self.like is not None:
            raise ValueError("it goes by words or by like, not by both")
        if any(not phrase.strip() for phrase in (*self.all, *self.any, *self.none)):
            raise ValueError("there is a blank among its words")
        for camera in self.cameras:
            device, slash, name = camera.partition("/")
            if not slash:
                raise ValueError(f"{camera!r} is not device/camera")
            fit_name("device", device)
            fit_name("camera", name)
        if self.active is not None:
            hours(self.active)


def trigger_name(name: str) -> str:
    """Return the name if a trigger or an example may have it; ValueError if not."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise ValueError(f"{name!r} is not 1 to 64 letters, digits, - and _")
    return name


def hours(active: str) -> tuple[time, time]:
    """Begin and end of "22:00-06:00"; ValueError in a sentence for what is none."""
    match = re.fullmatch(r"(\d\d:\d\d)-(\d\d:\d\d)", active)
    try:
        begin, end = map(time.fromisoformat, match.groups()) if match else (time(), time())
    except ValueError:  # of 25:00
        begin = end = time()
    if begin == end:
        raise ValueError(f"active is {active!r}; it takes hours as in 22:00-06:00")
    return begin, end


class EdgeConfig(Section):
    """Everything that the owner of an edge node may set.

    One edge node per broker and prefix: two would both caption every frame.
    """

    node: str = Field(default="edge1", description="name of this node, in its topics")
    broker: Broker = Field(default=Broker(), description="the MQTT broker")
    bundle: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="built-in name, or a path; unset, all built-in bundles"
    )
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
    trigger: tuple[TriggerConfig, ...] = Field(
        default_factory=tuple,
        max_length=64,
        description="what to look for, each a [[trigger]] section as docs/triggers.md shows it",
    )

    @property
    def topics(self) -> Topics:
        """Of the broker's prefix."""
        return Topics(self.broker.prefix)

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

    @field_validator("trigger")
    @classmethod
    def _triggers_differ(cls, triggers: tuple[TriggerConfig, ...]) -> tuple[TriggerConfig, ...]:
        names = [trigger.name for trigger in triggers]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"there are two triggers {name}; names must differ")
        return triggers


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

"""What stands behind a camera's `uri`. Parses only; opens nothing.

synthetic:street?seed=7&fps=2&strength=normal&truth=FILE&pictures=FOLDER&frames=N
0, 1, ... or /dev/videoN          a camera of this machine; also /dev/v4l/by-id/..., by-path/...
picamera2:0                       a camera of a Raspberry Pi, by libcamera
gst:nvarguscamerasrc ! ...        a GStreamer pipeline, as it is
rtsp://... http://... https://... a network camera; its own ?query is left as it is
/path/to/file?loop=1              a video, or a folder of images
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self
from urllib.parse import parse_qsl

from aiflow.common.errors import ConfigError

Origin = Literal["synthetic", "device", "picamera2", "gstreamer", "url", "path"]

SCHEMES: Final = frozenset({"rtsp", "rtsps", "rtmp", "http", "https", "tcp", "udp"})
OPTIONS: Final[Mapping[Origin, frozenset[str]]] = {
    "synthetic": frozenset({"seed", "fps", "strength", "truth", "pictures", "frames"}),
    "device": frozenset(),
    "picamera2": frozenset(),
    "gstreamer": frozenset(),
    "url": frozenset(),
    "path": frozenset({"loop"}),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed `uri`: for a device `target` is its number or path."""

    origin: Origin
    target: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Raises ConfigError for an empty uri, an unknown scheme or an unknown option."""
        scheme = re.match(r"([a-z][a-z0-9+.-]*)://", uri, re.IGNORECASE)
        if scheme is not None:
            if scheme[1].lower() not in SCHEMES:
                known = ", ".join(sorted(SCHEMES))
                raise ConfigError(f"{scheme[1]}:// is no camera; schemes are {known}")
            return cls("url", uri)
        if uri.startswith("gst:"):
            pipeline = uri.removeprefix("gst:").strip()
            if not pipeline:
                raise ConfigError("gst: needs a pipeline behind it")
            return cls("gstreamer", pipeline)
        target, _, query = uri.rpartition("?") if "?" in uri else (uri, "", "")
        origin: Origin = "path"
        if target.startswith("synthetic:"):
            origin, target = "synthetic", target.removeprefix("synthetic:")
        elif target.startswith("picamera2:"):
            origin, target = "picamera2", target.removeprefix("picamera2:")
            if not (target.isascii() and target.isdigit()):
                raise ConfigError(f"picamera2:{target} is no camera; the first one is picamera2:0")
        elif re.fullmatch(r"[0-9]+|/dev/video[0-9]+|/dev/v4l/by-[^/]+/[^/]+", target):
            origin = "device"
        if not target:
            raise ConfigError("a camera's uri is empty")
        return cls(origin, target, _options(origin, query))

    @property
    def live(self) -> bool:
        """Whether it shows the world as it is now, with a sensor's noise."""
        return self.origin not in {"synthetic", "path"}

    def option(self, name: str, default: str = "") -> str:
        return dict(self.options).get(name, default)

    def number(self, name: str, default: float) -> float:
        """A numeric option; ConfigError if it is none, or negative."""
        text = self.option(name)
        try:
            value = float(text) if text else default
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise ConfigError(f"camera option {name}={text} is not a positive number")
        return value

    @property
    def shown(self) -> str:
        """For logs: user name and password of a URL are left out."""
        return re.sub(r"^(\w[\w+.-]*://)[^/@?#]*@", r"\1", self.target)


def _options(origin: Origin, query: str) -> tuple[tuple[str, str], ...]:
    options = tuple(parse_qsl(query, keep_blank_values=True))
    for name, _ in options:
        if name not in OPTIONS[origin]:
            known = ", ".join(sorted(OPTIONS[origin])) or "none"
            raise ConfigError(f"camera option {name!r} is unknown here; known are {known}")
    return options

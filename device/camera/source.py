"""What stands behind a camera's `uri`. Opens nothing, but asks what kind of file a path is.

synthetic:street?seed=7&fps=2&strength=normal&truth=FILE&pictures=FOLDER&frames=N
0, 1, ... or /dev/videoN          a camera of this machine; any path to a character device
picamera2:0                       a camera of a Raspberry Pi, by libcamera
gst:nvarguscamerasrc ! ...        a GStreamer pipeline, as it is
rtsp://... http://... https://... a network camera; its own ?query is left as it is
/path/to/file?loop=1              a video, or a folder of images
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self
from urllib.parse import parse_qsl, urlsplit

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
_PLAIN_PATH: Final = re.compile(r"\.{0,2}/[\w./ +-]+|[\w. +-]+|/dev/[\w./:+-]+")
_ALL_OPTIONS: Final = frozenset().union(*OPTIONS.values())


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
            _require_port(uri)
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
        elif re.fullmatch(r"[0-9]+|/dev/.+", target) or _is_device(target):
            origin = "device"
        if not target:
            raise ConfigError("a camera's uri is empty")
        return cls(origin, target, _options(origin, target, query))

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
        """For logs, built from what holds no secret: scheme, host and port, or a plain path."""
        match self.origin:
            case "url":
                return harmless_url(self.target)
            case "gstreamer":
                return "a GStreamer pipeline"
            case "synthetic" | "picamera2":
                return self.target
        # A path that is none may be a mistyped URL, with a password anywhere in it.
        return self.target if _PLAIN_PATH.fullmatch(self.target) else "what its uri names"


def harmless_url(url: str) -> str:
    """Scheme, host and port of a URL; of one that may be mistyped, only the scheme.

    In `rtsp://me:pa/ss@host/` the host by the rules is `me`, and the port half a password.
    """
    scheme = url.partition("://")[0]
    authority, _, rest = re.sub(r"[/?#]", "/", url.partition("://")[2]).partition("/")
    try:
        parts = urlsplit(f"//{authority}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or "@" in rest or not re.fullmatch(r"[\w.:%-]+", host):
        return f"{scheme}://"
    bracketed = f"[{host}]" if ":" in host else host
    return f"{scheme}://{bracketed}" + (f":{port}" if port is not None else "")


def _require_port(url: str) -> None:
    """Raises ConfigError, without the URL, where no number is behind the host's colon."""
    try:
        fit = urlsplit(url).port != 0
    except ValueError:
        fit = False
    if not fit:
        raise ConfigError(
            "the URL's port is no number; in a user name or password write % / ? # @ : as %25 %2F "
            "%3F %23 %40 %3A"
        )


def _is_device(target: str) -> bool:
    """Whether a path leads to a character device, however it is spelt."""
    try:
        return Path(target).is_char_device()
    except (OSError, ValueError):
        return False


def _options(origin: Origin, target: str, query: str) -> tuple[tuple[str, str], ...]:
    options = tuple(parse_qsl(query, keep_blank_values=True))
    for name, value in options:
        if name not in OPTIONS[origin]:
            known = ", ".join(sorted(OPTIONS[origin])) or "none"
            # What stands behind the ? of a mistyped URL may be secret.
            harmless = name in _ALL_OPTIONS or (value and _PLAIN_PATH.fullmatch(target))
            option = f"camera option {name!r}" if harmless else "an option of the camera"
            raise ConfigError(f"{option} is unknown here; known are {known}")
    return options

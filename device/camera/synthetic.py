"""The built-in street as a camera: `synthetic:street?seed=7&fps=2&strength=normal`.

Frame i shows the street at i / fps seconds and is captured at the camera's start plus that time,
to the millisecond, so that whoever knows the seed can compute the truth again. With `truth=FILE`,
each frame's truth and the size of its JPEG are appended there, a JSON object a line:

    {"timestamp_ms": 1764000000250, "facts": [["kind", "near-left", "bus"]], "jpeg_bytes": 31204}

With `pictures=FOLDER`, the last frames are kept there as `<timestamp_ms>.jpg`, for a dashboard on
the same machine. `frames=N` ends the camera after N frames.
"""

from __future__ import annotations

import json
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

import cv2

from aiflow.common.errors import CameraError, ConfigError
from aiflow.device.camera.base import Frame, Pace, Tally
from aiflow.device.camera.source import Source
from aiflow.street.animation import Frame as StreetFrame
from aiflow.street.animation import Street
from aiflow.street.sensor import STRENGTHS

WORLDS: Final = ("street",)
SIZE: Final = (640, 480)
JPEG_QUALITY: Final = 75
MAX_PICTURES: Final = 500


class SyntheticCamera:
    """A street that runs in real time; frames for which the reader is too slow are left out."""

    data_s = 0.0  # nothing comes over a network

    def __init__(self, source: Source, fps: float, size: tuple[int, int] = SIZE) -> None:
        """Raises ConfigError for an unknown world or option, CameraError for the truth file."""
        if source.target not in WORLDS:
            raise ConfigError(f"no synthetic world {source.target!r}; there is {WORLDS[0]}")
        self._fps = source.number("fps", fps) or fps
        self._strength = source.option("strength", "normal")
        if self._strength not in STRENGTHS:
            known = ", ".join(STRENGTHS)
            raise ConfigError(f"no camera strength {self._strength!r}; there are {known}")
        self._last = int(source.number("frames", 0)) - 1
        self._size = size
        self._street = Street(int(source.number("seed", 0)))
        self._truth = _opened(source.option("truth"))
        self._pictures = _Pictures(source.option("pictures"))
        self._pace = Pace(self._fps)
        self._start_ms = time.time_ns() // 1_000_000
        self._start = time.monotonic()
        self._index = -1
        self.tally = Tally()

    def read(self) -> Frame | None:
        if self._index == self._last >= 0:
            return None
        self.tally.quiet_until = self._pace.due_at
        self._pace.wait()
        if self._last < 0:
            # Keep up with real time. A counted run shows every frame instead.
            self._index = max(self._index, int((time.monotonic() - self._start) * self._fps) - 1)
        self._index += 1
        seen = self._street.frame(self._index / self._fps, self._size, self._strength)
        timestamp_ms = self._start_ms + round(1000 * self._index / self._fps)
        if self._truth is not None or self._pictures.wanted:
            _, jpeg = cv2.imencode(".jpg", seen.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            self._pictures.keep(timestamp_ms, jpeg.tobytes())
            if self._truth is not None:
                _tell(self._truth, timestamp_ms, seen, len(jpeg))
        self.tally.good()
        return Frame(seen.image, timestamp_ms / 1000, self._index)

    def interrupt(self) -> None:
        self._pace.end()

    def close(self) -> None:
        if self._truth is not None:
            self._truth.close()


def _opened(name: str) -> TextIO | None:
    if not name:
        return None
    try:
        return Path(name).open("a", encoding="utf-8")
    except OSError as error:
        raise CameraError(f"truth file {name} cannot be written: {error.strerror}") from error


def _tell(truth: TextIO, timestamp_ms: int, seen: StreetFrame, jpeg_bytes: int) -> None:
    line = {
        "timestamp_ms": timestamp_ms,
        "facts": sorted(seen.scene.facts()),
        "jpeg_bytes": jpeg_bytes,
    }
    truth.write(json.dumps(line) + "\n")
    truth.flush()  # whoever hears of the frame finds its truth


class _Pictures:
    """The last frames as files; none without a folder."""

    def __init__(self, folder: str) -> None:
        """Raises CameraError when the folder cannot be made."""
        self.wanted = bool(folder)
        self._folder = Path(folder)
        self._kept: deque[Path] = deque()
        if self.wanted:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise CameraError(f"no folder {folder} for pictures: {error.strerror}") from error

    def keep(self, timestamp_ms: int, jpeg: bytes) -> None:
        """A full disk costs the picture, not the frame."""
        if not self.wanted:
            return
        path = self._folder / f"{timestamp_ms}.jpg"
        with suppress(OSError):
            path.write_bytes(jpeg)
        self._kept.append(path)
        if len(self._kept) > MAX_PICTURES:
            self._kept.popleft().unlink(missing_ok=True)

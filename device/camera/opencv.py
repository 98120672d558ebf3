"""Live cameras that OpenCV opens: devices, network streams and GStreamer pipelines.

cv2 is imported when the first of them is opened, with its own chatter on stderr switched off.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from aiflow.common.errors import CameraError
from aiflow.device.camera.base import Frame, Image, Pace

if TYPE_CHECKING:
    import cv2

OPEN_TIMEOUT_MS: Final = 3000
READ_TIMEOUT_MS: Final = 2000
"""Of network streams: OpenCV's own default lets a silent RTSP server block for 30 s."""

Size = tuple[int | None, int | None]


class LiveCamera:
    """A device, a stream or a pipeline: it sets the pace, and we keep up by skipping frames.

    Every frame is grabbed, so that none waits in a buffer and grows old, but only those that are
    due at `fps` are decoded.
    """

    def __init__(
        self, capture: cv2.VideoCapture, name: str, fps: float, silence_s: float = math.inf
    ) -> None:
        """A grab that takes `silence_s` has failed, whatever it says.

        After its time-out FFmpeg hands out a frame that its decoder has kept back until then.
        """
        self._silence_s = silence_s
        self._capture = capture
        self._name = name
        self._pace = Pace(fps)
        self._index = 0

    def read(self) -> Frame | None:
        while True:
            began = time.monotonic()
            if not self._capture.grab() or time.monotonic() - began >= self._silence_s:
                raise CameraError(f"{self._name} delivers nothing")
            captured_at = time.time()
            if self._pace.due:
                break
        frame = Frame(retrieved(self._capture, self._name), captured_at, self._index)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        """Nothing waits here but the driver, which has its own time-outs."""

    def close(self) -> None:
        self._capture.release()


def open_device(target: str, fps: float, size: Size) -> LiveCamera:
    """A Video4Linux camera by number or path. Raises CameraError."""
    path = Path(target if target.startswith("/") else f"/dev/video{target}")
    try:
        path = path.resolve()  # /dev/v4l/by-id/... leads to /dev/videoN
        mode = path.stat().st_mode
    except OSError as error:
        raise CameraError(f"{path} is not there; is the camera plugged in?") from error
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(f"{path} may not be opened; is this user in the group video?")
    if not stat.S_ISCHR(mode):
        raise CameraError(f"{path} is no camera device")
    cv2 = module()
    number = int(re.sub(r"\D", "", path.name))
    capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
    require_open(capture, f"camera {path}")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    for prop, value in zip(
        (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), size, strict=True
    ):
        if value is not None:
            capture.set(prop, value)
    return LiveCamera(capture, f"camera {path}", fps)


def open_url(url: str, shown: str, fps: float) -> LiveCamera:
    """A network stream, over FFmpeg with timeouts; `shown` is its name without a password."""
    cv2 = module()
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        READ_TIMEOUT_MS,
        # Each further thread keeps one more frame back.
        cv2.CAP_PROP_N_THREADS,
        1,
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, settings)
    require_open(capture, f"stream {shown}")
    return LiveCamera(capture, f"stream {shown}", fps, READ_TIMEOUT_MS / 1000)


def open_pipeline(pipeline: str, fps: float) -> LiveCamera:
    """A GStreamer pipeline that ends in an appsink of BGR pictures. Raises CameraError."""
    cv2 = module()
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise CameraError(
            "this OpenCV has no GStreamer, as the one from PyPI has none; docs/cameras.md has two "
            "ways around it"
        )
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    require_open(capture, "the GStreamer pipeline")
    return LiveCamera(capture, "the GStreamer pipeline", fps)


def require_open(capture: cv2.VideoCapture, name: str) -> None:
    """Raises CameraError."""
    if not capture.isOpened():
        capture.release()
        raise CameraError(f"{name} cannot be opened")


def retrieved(capture: cv2.VideoCapture, name: str) -> Image:
    """Decode the frame that was grabbed. Raises CameraError."""
    decoded, image = capture.retrieve()
    if not decoded or image.shape[2:] != (3,) or image.dtype != np.uint8:
        raise CameraError(f"{name} sends frames that cannot be decoded")
    return cast("Image", image)


def module() -> ModuleType:
    """cv2, imported when it is first needed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read by cv2 at its first use
    import cv2  # noqa: PLC0415

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2

"""Cameras that OpenCV opens: devices, network streams, video files and folders of images.

cv2 is imported when the first of them is opened, with its own chatter on stderr switched off.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Callable, Iterator
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
IMAGE_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})

Size = tuple[int | None, int | None]


class LiveCamera:
    """A device or a network stream: it sets the pace, and we keep up by skipping frames.

    Every frame is grabbed, so that none waits in a buffer and grows old, but only those that are
    due at `fps` are decoded.
    """

    def __init__(self, capture: cv2.VideoCapture, name: str, fps: float) -> None:
        self._capture = capture
        self._name = name
        self._pace = Pace(fps)
        self._index = 0

    def read(self) -> Frame | None:
        while True:
            if not self._capture.grab():
                raise CameraError(f"{self._name} delivers nothing")
            captured_at = time.time()
            if self._pace.due:
                break
        frame = Frame(_retrieved(self._capture, self._name), captured_at, self._index)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        """Nothing waits here but the driver, which has its own time-outs."""

    def close(self) -> None:
        self._capture.release()


class VideoFile:
    """A video, played at its own speed and sampled at `fps`."""

    def __init__(
        self, open_capture: Callable[[], cv2.VideoCapture], name: str, fps: float, *, loop: bool
    ) -> None:
        self._open = open_capture
        self._name = name
        self._loop = loop
        self._capture = open_capture()
        native_fps = float(self._capture.get(_cv2().CAP_PROP_FPS))
        native_fps = native_fps if 0 < native_fps <= 1000 else fps
        fps = min(fps, native_fps)
        self._stride = native_fps / fps  # frames of the file for one of ours
        self._pace = Pace(fps)
        self._grabbed = 0  # frames of the file, in this round
        self._taken = 0  # frames of ours, in this round
        self._index = 0

    def read(self) -> Frame | None:
        self._pace.wait()
        image = self._next()
        if image is None and self._loop and self._taken:
            self._capture.release()
            self._capture = self._open()
            self._grabbed = self._taken = 0
            image = self._next()
        if image is None:
            if self._index == 0:
                raise CameraError(f"{self._name} holds no frame that can be decoded")
            return None
        frame = Frame(image, time.time(), self._index)
        self._taken += 1
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._pace.end()

    def close(self) -> None:
        self._capture.release()

    def _next(self) -> Image | None:
        wanted = int(self._taken * self._stride) + 1
        while self._grabbed < wanted:
            if not self._capture.grab():
                return None
            self._grabbed += 1
        return _retrieved(self._capture, self._name)


class ImageFolder:
    """The images of a folder in the order of their names, `fps` of them in a second."""

    def __init__(self, folder: Path, fps: float, *, loop: bool) -> None:
        self._folder = folder
        self._loop = loop
        self._pace = Pace(fps)
        self._images = self._round()
        self._index = 0

    def read(self) -> Frame | None:
        self._pace.wait()
        image = next(self._images, None)
        if image is None and self._loop and self._index:
            self._images = self._round()
            image = next(self._images, None)
        if image is None:
            if self._index == 0:
                raise CameraError(f"folder {self._folder} holds no image that can be decoded")
            return None
        frame = Frame(image, time.time(), self._index)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._pace.end()

    def close(self) -> None:
        self._images = iter(())

    def _round(self) -> Iterator[Image]:
        cv2 = _cv2()
        for path in sorted(self._folder.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                image = cv2.imread(str(path), cv2.IMREAD_COLOR)
                if image is not None:
                    yield image


def open_device(target: str, fps: float, size: Size) -> LiveCamera:
    """A Video4Linux camera by number or path. Raises CameraError."""
    path = Path(target if target.startswith("/") else f"/dev/video{target}")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise CameraError(f"{path} is not there; is the camera plugged in?") from error
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(f"{path} may not be opened; is this user in the group video?")
    if not stat.S_ISCHR(mode):
        raise CameraError(f"{path} is no camera device")
    cv2 = _cv2()
    number = int(re.sub(r"\D", "", path.name))
    capture = cv2.VideoCapture(number, cv2.CAP_V4L2)
    _require_open(capture, f"camera {path}")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    for prop, value in zip(
        (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), size, strict=True
    ):
        if value is not None:
            capture.set(prop, value)
    return LiveCamera(capture, f"camera {path}", fps)


def open_url(url: str, shown: str, fps: float) -> LiveCamera:
    """A network stream, over FFmpeg with timeouts; `shown` is its name without a password."""
    cv2 = _cv2()
    timeouts = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        READ_TIMEOUT_MS,
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, timeouts)
    _require_open(capture, f"stream {shown}")
    return LiveCamera(capture, f"stream {shown}", fps)


def open_path(target: str, fps: float, *, loop: bool) -> VideoFile | ImageFolder:
    """A video file or a folder of images. Raises CameraError."""
    path = Path(target)
    if path.is_dir():
        if not os.access(path, os.R_OK | os.X_OK):
            raise CameraError(f"folder {path} may not be read")
        return ImageFolder(path, fps, loop=loop)
    if not path.is_file():
        raise CameraError(f"{path} is not there; it should be a video file or a folder of images")
    return VideoFile(lambda: _open_video(path), f"video {path}", fps, loop=loop)


def _open_video(path: Path) -> cv2.VideoCapture:
    module = _cv2()
    capture = module.VideoCapture(str(path), module.CAP_FFMPEG)
    _require_open(capture, f"video {path}")
    return cast("cv2.VideoCapture", capture)


def _require_open(capture: cv2.VideoCapture, name: str) -> None:
    if not capture.isOpened():
        capture.release()
        raise CameraError(f"{name} cannot be opened")


def _retrieved(capture: cv2.VideoCapture, name: str) -> Image:
    decoded, image = capture.retrieve()
    if not decoded or image.ndim != 3 or image.dtype != np.uint8:
        raise CameraError(f"{name} sends frames that cannot be decoded")
    return cast("Image", image)


def _cv2() -> ModuleType:
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read by cv2 at its first use
    import cv2  # noqa: PLC0415

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2

"""Cameras that play what is on disk: video files and folders of images."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from aiflow.common.errors import CameraError
from aiflow.common.pictures import is_picture
from aiflow.device.camera import pictures
from aiflow.device.camera.base import Frame, Image, Pace, Tally
from aiflow.device.camera.opencv import module, require_open, retrieved

if TYPE_CHECKING:
    import cv2

REFUSED: Final = 1000
"""So many frames in a row that FFmpeg refuses are a video's end, or damage beyond help."""
SLACK_S: Final = 0.001
"""Time stamps are rounded."""


class VideoFile:
    """A video, played by its time stamps and thinned out to `fps`."""

    data_s = 0.0  # nothing comes over a network

    def __init__(self, path: Path, fps: float, *, loop: bool) -> None:
        """Raises CameraError."""
        self._path = path
        self._name = f"video {path}"
        self._loop = loop
        self._period_s = 1.0 / fps
        self._capture = _open_video(path)
        native_fps = float(self._capture.get(module().CAP_PROP_FPS))
        self._native_s = 1.0 / (native_fps if 0 < native_fps <= 1000 else fps)
        self._ended = threading.Event()
        self._index = 0
        self._starts_at = time.monotonic()  # when second 0 of the video is to be seen
        self._first_s = 0.0  # the first frame's time stamp
        self._stamp_s: float | None = None  # of the frame that was grabbed last
        self._wanted_s = 0.0
        self.tally = Tally()

    def read(self) -> Frame | None:
        image = self._next()
        if image is None and self._loop and self._index:
            self._begin_again()
            image = self._next()
        if image is None or self._stamp_s is None:
            if self._index == 0:
                raise CameraError(f"{self._name} holds no frame that can be decoded")
            return None
        due_at = self._starts_at + self._stamp_s
        self.tally.quiet_until = due_at
        self._ended.wait(max(0.0, due_at - time.monotonic()))
        # Time lost by a slow reader is not made up for.
        self._starts_at += max(0.0, time.monotonic() - due_at)
        self.tally.good()
        frame = Frame(image, time.time(), self._index)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._ended.set()

    def close(self) -> None:
        self._capture.release()

    def _next(self) -> Image | None:
        """The next frame that is wanted and good; None at the end."""
        while self._grab():
            stamp_s = self._stamp()
            if stamp_s < self._wanted_s - SLACK_S:
                continue
            image = retrieved(self._capture)
            if image is None:
                self.tally.skip(f"{self._name} is damaged")
                continue
            passed = math.floor((stamp_s + SLACK_S) / self._period_s)
            self._wanted_s = (passed + 1) * self._period_s
            return image
        return None

    def _grab(self) -> bool:
        """Go on to the next frame; False at the end. What FFmpeg refuses in between is bad."""
        for refused in range(REFUSED):
            if self._capture.grab():
                for _ in range(refused):
                    self.tally.skip(f"{self._name} is damaged")
                return True
        return False

    def _stamp(self) -> float:
        """Seconds from the video's start to the grabbed frame; they grow in any case."""
        said_s = float(self._capture.get(module().CAP_PROP_POS_MSEC)) / 1000
        last_s = self._stamp_s
        if last_s is None:
            self._first_s = said_s
        stamp_s = said_s - self._first_s
        if last_s is not None and not stamp_s > last_s:
            stamp_s = last_s + self._native_s
        self._stamp_s = stamp_s
        return stamp_s

    def _begin_again(self) -> None:
        self._starts_at += (self._stamp_s or 0.0) + self._native_s
        self._stamp_s, self._wanted_s = None, 0.0
        self._capture.release()
        self._capture = _open_video(self._path)


class ImageFolder:
    """The images of a folder in the order of their names, `fps` of them in a second."""

    data_s = 0.0  # nothing comes over a network

    def __init__(self, folder: Path, fps: float, *, loop: bool) -> None:
        self._folder = folder
        self._loop = loop
        self._pace = Pace(fps)
        self._images = self._round()
        self._index = 0
        self.tally = Tally()

    def read(self) -> Frame | None:
        self.tally.quiet_until = self._pace.due_at
        self._pace.wait()
        image = next(self._images, None)
        if image is None and self._loop and self._index:
            self._images = self._round()
            image = next(self._images, None)
        if image is None:
            if self._index == 0:
                raise CameraError(f"folder {self._folder} holds no image that can be decoded")
            return None
        self.tally.good()
        frame = Frame(image, time.time(), self._index)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        self._pace.end()

    def close(self) -> None:
        self._images = iter(())

    def _round(self) -> Iterator[Image]:
        for path in sorted(filter(is_picture, self._folder.iterdir())):
            image = pictures.read(path)
            if image is None:
                self.tally.skip(f"folder {self._folder} holds damaged pictures")
            else:
                yield image


def open_path(target: str, shown: str, fps: float, *, loop: bool) -> VideoFile | ImageFolder:
    """A video file or a folder of images; `shown` is its harmless name. Raises CameraError."""
    path = Path(target)
    if path.is_dir():
        if not os.access(path, os.R_OK | os.X_OK):
            raise CameraError(f"folder {path} may not be read")
        return ImageFolder(path, fps, loop=loop)
    if not path.is_file():
        raise CameraError(f"{shown} is not there; it should be a video file or a folder of images")
    return VideoFile(path, fps, loop=loop)


def _open_video(path: Path) -> cv2.VideoCapture:
    capture = module().VideoCapture(str(path), module().CAP_FFMPEG)
    require_open(capture, f"video {path}")
    return cast("cv2.VideoCapture", capture)

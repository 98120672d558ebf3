"""Cameras that play what is on disk: video files and folders of images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from aiflow.common.errors import CameraError
from aiflow.device.camera.base import Frame, Image, Pace
from aiflow.device.camera.opencv import module, require_open, retrieved

if TYPE_CHECKING:
    import cv2

IMAGE_SUFFIXES: Final = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class VideoFile:
    """A video, played at its own speed and sampled at `fps`."""

    def __init__(
        self, open_capture: Callable[[], cv2.VideoCapture], name: str, fps: float, *, loop: bool
    ) -> None:
        self._open = open_capture
        self._name = name
        self._loop = loop
        self._capture = open_capture()
        native_fps = float(self._capture.get(module().CAP_PROP_FPS))
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
        return retrieved(self._capture, self._name)


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
        for path in sorted(self._folder.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                image = module().imread(str(path), module().IMREAD_COLOR)
                if image is not None:
                    yield image


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
    capture = module().VideoCapture(str(path), module().CAP_FFMPEG)
    require_open(capture, f"video {path}")
    return cast("cv2.VideoCapture", capture)

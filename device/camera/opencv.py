"""Live cameras that OpenCV opens: devices, network streams and GStreamer pipelines.

cv2 is imported when the first of them is opened, with its own chatter on stderr switched off.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from aiflow.common.errors import CameraError
from aiflow.device.camera.base import DATA_S, Frame, Image, Pace, Tally
from aiflow.device.camera.ring import MAX_FRAME_BYTES

if TYPE_CHECKING:
    import cv2

OPEN_TIMEOUT_MS: Final = 3000
"""Of a server that answers nothing. While it sends, FFmpeg looks at the stream so long, and goes on
with what it has seen."""
ENDED: Final = 1000
"""A connection has ended when so many frames in a row are refused without any waiting."""
INSTANT_S: Final = 0.002
RETRY_S: Final = 0.01
"""Until a device or a pipeline that refuses a frame is asked again."""
_QUERYCAP: Final = 0x80685600
"""VIDIOC_QUERYCAP, with a `struct v4l2_capability` of 104 bytes (linux/videodev2.h)."""
_DEVICE_CAPS: Final = 0x80000000
_CAPTURE: Final = 0x00000001 | 0x00001000
"""V4L2_CAP_VIDEO_CAPTURE, of one plane or of several."""

Size = tuple[int | None, int | None]


class LiveCamera:
    """A device, a stream or a pipeline: it sets the pace, and we keep up by skipping frames.

    Every frame is grabbed, so that none waits in a buffer and grows old, but only those that are
    due at `fps` are decoded. A frame that is refused is skipped: the next one may be good.
    """

    def __init__(
        self,
        capture: cv2.VideoCapture,
        name: str,
        fps: float,
        stall_s: float,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        self._capture = capture
        self._name = name
        self._pace = Pace(fps)
        self._retry_s = retry_s
        self._index = 0
        self.tally = Tally(stall_s)
        self.data_s = 2 * stall_s

    def read(self) -> Frame | None:
        while True:
            self._grab()
            captured_at = time.time()
            if not self._pace.due:
                continue
            image = retrieved(self._capture)
            if image is not None:
                break
            self.tally.skip(f"{self._name} sends nothing that can be decoded")
        self.tally.good()
        frame = Frame(image, captured_at, self._index)
        self._index += 1
        return frame

    def _grab(self) -> None:
        """The next frame that is not refused. Raises CameraError when there is none any more."""
        instant = 0
        while True:
            began = time.monotonic()
            if self._capture.grab():
                return
            instant = instant + 1 if time.monotonic() - began < INSTANT_S else 0
            if instant == ENDED and not self._retry_s:
                self.tally.bad -= ENDED - 1  # they were none
                raise CameraError(f"{self._name} delivers nothing any more")
            self.tally.skip(f"{self._name} sends nothing that can be decoded")
            time.sleep(self._retry_s)

    def interrupt(self) -> None:
        """Nothing waits here but the driver; a process of its own ends it if it must."""

    def close(self) -> None:
        self._capture.release()


def open_device(target: str, fps: float, size: Size, stall_s: float) -> LiveCamera:
    """A Video4Linux camera by number or path. Raises CameraError."""
    path = device_path(target)
    try:
        path = path.resolve(strict=True)  # /dev/v4l/by-id/..., or a link that udev was told to make
        mode = path.stat().st_mode
    except OSError as error:
        raise CameraError(f"{path} is not there; is the camera plugged in?") from error
    if not os.access(path, os.R_OK | os.W_OK):
        raise CameraError(f"{path} may not be opened; is this user in the group video?")
    if not stat.S_ISCHR(mode):
        raise CameraError(f"{path} is no camera device")
    _require_camera(path)
    cv2 = module()
    capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    require_open(capture, f"camera {path}")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    for prop, value in zip(
        (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT), size, strict=True
    ):
        if value is not None:
            capture.set(prop, value)
    return LiveCamera(capture, f"camera {path}", fps, stall_s)


def device_path(target: str) -> Path:
    """A camera's number is that of its file."""
    return Path(f"/dev/video{target}" if target.isdigit() else target)


def _require_camera(path: Path) -> None:
    """Ask the device what it is. Raises CameraError if it is no camera, or gives no pictures."""
    try:
        device = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise CameraError(f"{path} cannot be opened: {error.strerror}") from error
    try:
        answer = fcntl.ioctl(device, _QUERYCAP, bytes(104))
    except OSError as error:
        if error.errno in {errno.ENOTTY, errno.EINVAL}:
            raise CameraError(f"{path} is no camera device") from error
        raise CameraError(f"{path} does not answer: {error.strerror}") from error
    finally:
        os.close(device)
    whole, own = struct.unpack_from("=II", answer, 84)
    if not (own if whole & _DEVICE_CAPS else whole) & _CAPTURE:
        raise CameraError(f"{path} gives no pictures; the camera has another device that does")


def open_url(url: str, shown: str, fps: float, stall_s: float) -> LiveCamera:
    """A network stream, by FFmpeg; `shown` is its name without anything secret.

    A read may last as long as data may come without a picture; whether data come, the kernel tells
    (`received`), and the daemon ends the process that is silent.
    """
    cv2 = module()
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        round(1000 * max(DATA_S, stall_s)),
        # Each further thread keeps one more frame back.
        cv2.CAP_PROP_N_THREADS,
        1,
    ]
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, settings)
    require_open(capture, f"stream {shown}")
    return LiveCamera(capture, f"stream {shown}", fps, stall_s, retry_s=0.0)


def open_pipeline(pipeline: str, fps: float, stall_s: float) -> LiveCamera:
    """A GStreamer pipeline that ends in an appsink of BGR pictures. Raises CameraError."""
    cv2 = module()
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise CameraError(
            "this OpenCV has no GStreamer, as the one from PyPI has none; docs/cameras.md has two "
            "ways around it"
        )
    capture = cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)
    require_open(capture, "the GStreamer pipeline")
    return LiveCamera(capture, "the GStreamer pipeline", fps, stall_s)


def require_open(capture: cv2.VideoCapture, name: str) -> None:
    """Raises CameraError."""
    if not capture.isOpened():
        capture.release()
        raise CameraError(f"{name} cannot be opened")


def retrieved(capture: cv2.VideoCapture) -> Image | None:
    """Decode the frame that was grabbed; None for one that cannot be."""
    try:
        good, image = capture.retrieve()
    except module().error:
        return None
    if not good or image.shape[2:] != (3,) or image.dtype != np.uint8:
        return None
    return cast("Image", image)


def module() -> ModuleType:
    """cv2, imported when it is first needed."""
    # Both are read by cv2 at its first use. The second one refuses a picture before it is decoded.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_FRAME_BYTES // 3))
    import cv2  # noqa: PLC0415

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2

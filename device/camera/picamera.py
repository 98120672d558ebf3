"""A camera of a Raspberry Pi, by picamera2 and libcamera.

picamera2 comes from the system's packages (`apt install python3-picamera2`) and not from PyPI; it
is imported when such a camera is opened, in that camera's process.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any, Final

from aiflow.common.errors import CameraError
from aiflow.device.camera.base import Frame, Pace, Tally

SIZE: Final = (640, 480)
_BGR: Final = "RGB888"
"""libcamera names formats by their order in a little-endian word: in memory this one is BGR."""


class PiCamera:
    """It sets the pace; frames that are not due at `fps` are given back uncopied."""

    data_s = 0.0  # nothing comes over a network

    def __init__(self, number: int, fps: float, size: tuple[int | None, int | None]) -> None:
        """Raises CameraError."""
        self._name = f"camera picamera2:{number}"
        self._pace = Pace(fps)
        self._index = 0
        self.tally = Tally()
        library = _picamera2()
        there = len(library.global_camera_info())
        if number >= there:
            raise CameraError(f"{self._name} is not there; libcamera finds {there} cameras")
        try:
            self._camera = library(number)
            wanted = {"format": _BGR, "size": (size[0] or SIZE[0], size[1] or SIZE[1])}
            self._camera.configure(self._camera.create_video_configuration(main=wanted))
            self._camera.start()
        except (RuntimeError, OSError) as error:
            raise CameraError(f"{self._name} cannot be opened: {error}") from error

    def read(self) -> Frame | None:
        while True:
            try:
                request = self._camera.capture_request()
                captured_at = time.time()
                try:
                    image = request.make_array("main") if self._pace.due else None
                finally:
                    request.release()
            except (RuntimeError, OSError) as error:
                raise CameraError(f"{self._name} delivers nothing: {error}") from error
            if image is not None:
                break
        self.tally.good()
        frame = Frame(image, captured_at, self._index)
        self._index += 1
        return frame

    def interrupt(self) -> None:
        """Nothing waits here but the driver; a process of its own ends it if it must."""

    def close(self) -> None:
        self._camera.close()


def _picamera2() -> Any:
    try:
        return import_module("picamera2").Picamera2
    except ImportError as error:
        raise CameraError(
            "picamera2 is not installed: sudo apt install python3-picamera2, and make AI Flow's "
            "environment with --system-site-packages (docs/cameras.md)"
        ) from error

"""picamera2 needs a Raspberry Pi; tested here is how it is called and what its faults do."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera import open_camera


class Library:
    """As much of picamera2's class as is called."""

    cameras = 1
    fault: ClassVar[Exception | None] = None
    copied = given = 0

    def __init__(self, number: int) -> None:
        assert number == 0
        self.closed = False

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return [{}] * cls.cameras

    def create_video_configuration(self, main: dict[str, Any]) -> dict[str, Any]:
        return main

    def configure(self, main: dict[str, Any]) -> None:
        assert main["format"] == "RGB888"
        self.size = main["size"]

    def start(self) -> None:
        if self.fault is not None:
            raise self.fault

    def capture_request(self) -> Library:
        if self.fault is not None:
            raise self.fault
        return self

    def make_array(self, name: str) -> Any:
        assert name == "main"
        type(self).copied += 1
        return np.zeros((self.size[1], self.size[0], 3), np.uint8)

    def release(self) -> None:
        type(self).given += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> type[Library]:
    library = type("Picamera2", (Library,), {})
    monkeypatch.setitem(sys.modules, "picamera2", SimpleNamespace(Picamera2=library))
    return library


def test_frames_that_are_not_due_are_not_copied(library: type[Library]) -> None:
    camera = open_camera("picamera2:0", 20.0, 64, 48)
    frames = [camera.read() for _ in range(3)]
    assert [frame.index for frame in frames if frame is not None] == [0, 1, 2]
    assert {frame.image.shape for frame in frames if frame is not None} == {(48, 64, 3)}
    assert library.copied == 3 < library.given
    camera.close()


def test_faults_are_sentences(library: type[Library]) -> None:
    camera = open_camera("picamera2:0", 20.0)
    library.fault = RuntimeError("Camera frontend has timed out!")
    with pytest.raises(CameraError, match="camera picamera2:0 delivers nothing: Camera frontend"):
        camera.read()
    with pytest.raises(CameraError, match="camera picamera2:0 cannot be opened: Camera frontend"):
        open_camera("picamera2:0", 20.0)
    library.cameras = 0
    with pytest.raises(CameraError, match="is not there; libcamera finds 0 cameras"):
        open_camera("picamera2:0", 20.0)


def test_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(CameraError, match="sudo apt install python3-picamera2"):
        open_camera("picamera2:0", 20.0)

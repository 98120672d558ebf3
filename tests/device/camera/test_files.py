from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera import Camera, open_camera


def write_images(folder: Path, *values: int) -> None:
    for number, value in enumerate(values):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((48, 64, 3), value, np.uint8))


def write_video(path: Path, frames: int, fps: float = 10.0) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()


def greys(camera: Camera, most: int = 100) -> list[int]:
    values: list[int] = []
    while len(values) < most:
        frame = camera.read()
        if frame is None:
            break
        assert frame.index == len(values)
        values.append(round(float(frame.image.mean())))
    return values


def test_folder_plays_its_images_in_order_and_ends(tmp_path: Path) -> None:
    write_images(tmp_path, 10, 20, 30)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "001b.png").write_text("nor is this")
    camera = open_camera(str(tmp_path), 100)
    assert greys(camera) == [10, 20, 30]
    assert camera.read() is None
    camera.close()


def test_folder_plays_again_when_asked(tmp_path: Path) -> None:
    write_images(tmp_path, 10, 20)
    assert greys(open_camera(f"{tmp_path}?loop=1", 100), most=5) == [10, 20, 10, 20, 10]


def test_folder_plays_at_fps(tmp_path: Path) -> None:
    write_images(tmp_path, *range(6))
    began = time.monotonic()
    camera = open_camera(str(tmp_path), 25)
    greys(camera)
    assert 0.19 <= time.monotonic() - began < 1.0


def test_folder_without_images(tmp_path: Path) -> None:
    for uri in (str(tmp_path), f"{tmp_path}?loop=1"):
        with pytest.raises(CameraError, match="holds no image that can be decoded"):
            open_camera(uri, 100).read()


def test_video_is_sampled_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    write_video(path, frames=20, fps=100)
    assert greys(open_camera(str(path), 50)) == pytest.approx(list(range(0, 200, 20)), abs=3)


def test_video_is_not_played_faster_than_it_is(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    write_video(path, frames=5, fps=25)
    began = time.monotonic()
    assert len(greys(open_camera(str(path), 120))) == 5
    assert time.monotonic() - began >= 0.15


def test_video_plays_again_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    write_video(path, frames=3, fps=100)
    camera = open_camera(f"{path}?loop=1", 100)
    assert greys(camera, most=7) == pytest.approx([0, 10, 20, 0, 10, 20, 0], abs=3)
    camera.close()


def test_file_that_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(5000))
    with pytest.raises(CameraError, match=r"clip\.mp4 cannot be opened"):
        open_camera(str(path), 2)
    assert capfd.readouterr().err == "", "OpenCV and FFmpeg keep their own comments"

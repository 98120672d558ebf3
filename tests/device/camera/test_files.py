from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.common.pictures import SUFFIXES
from aiflow.device.camera import Camera, open_camera
from aiflow.device.camera.exchange import Alive, Ended, Order, Shot
from aiflow.device.camera.process import CameraProcess


def write_images(folder: Path, *values: int) -> None:
    for number, value in enumerate(values):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((48, 64, 3), value, np.uint8))


def write_video(path: Path, frames: int, fps: float = 10.0) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((48, 64, 3), 10 * number % 256, np.uint8))
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


def test_large_and_damaged_pictures_do_not_end_a_folder(tmp_path: Path) -> None:
    write_images(tmp_path, 10, 20, 30)
    whole = (tmp_path / "001.png").read_bytes()
    large = np.full((6200, 8200, 3), 15, np.uint8)
    cv2.imwrite(str(tmp_path / "000a.jpg"), large)
    cv2.imwrite(str(tmp_path / "000b.webp"), large[:48, :64])
    (tmp_path / "001a.png").write_bytes(whole[:60])
    (tmp_path / "001b.jpg").write_bytes(b"")
    (tmp_path / "001c.tif").mkdir()
    (tmp_path / "001d.jpg").symlink_to("/nowhere")
    camera = open_camera(str(tmp_path), 100)
    assert greys(camera) == [10, 15, 15, 20, 30]
    assert camera.tally.bad == 4


def test_large_picture_that_cannot_be_shrunk_is_skipped_in_a_camera_s_process(
    tmp_path: Path,
) -> None:
    """OpenCV must be told of the limit before it is imported."""
    write_images(tmp_path, 10, 20)
    cv2.imwrite(str(tmp_path / "000a.png"), np.zeros((6200, 8200, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "000b.jpg"), np.full((6200, 8200, 3), 15, np.uint8))
    process = CameraProcess(Order(str(tmp_path), 100.0))
    messages = []
    while (message := process.hear()) is not None:
        messages.append(message)
        if isinstance(message, Shot):
            process.frame(message).release()
    assert process.end(30.0)
    shots = [message for message in messages if isinstance(message, Shot)]
    assert [(shot.width, shot.height) for shot in shots] == [(64, 48), (4100, 3100), (64, 48)]
    assert Alive(1) in messages
    assert messages[-1] == Ended()


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_each_format_of_the_list_is_read(tmp_path: Path, suffix: str) -> None:
    image = np.full((48, 64, 3), 90, np.uint8)
    if suffix in {"hdr", "pic"}:
        coded = cv2.imencode(f".{suffix}", image.astype(np.float32) / 255)[1]
    elif suffix in {"pgm", "pbm"}:
        coded = cv2.imencode(f".{suffix}", image[:, :, 0])[1]
    else:
        coded = cv2.imencode(f".{suffix}", image)[1]
    (tmp_path / f"a.{suffix.upper()}").write_bytes(coded.tobytes())
    (value,) = greys(open_camera(str(tmp_path), 100))
    assert value == pytest.approx(255 if suffix == "pbm" else 90, abs=1)


def test_damaged_video_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    write_video(path, frames=53, fps=1000)
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 3000] = np.random.default_rng(7).bytes(3000)
    path.write_bytes(data)
    camera = open_camera(str(path), 1000)
    seen = greys(camera)
    assert len(seen) > 30
    assert seen[-1] == pytest.approx(520 % 256, abs=4), "it is played to its end"
    assert len(seen) + camera.tally.bad <= 53


def test_video_plays_by_its_time_stamps(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_variable(path, [0, 40, 80, 500, 540, 1000])
    began, at = time.monotonic(), []
    camera = open_camera(str(path), 120)
    while camera.read() is not None:
        at.append(time.monotonic() - began)
    steps = np.diff(at)
    assert steps == pytest.approx([0.04, 0.04, 0.42, 0.04, 0.46], abs=0.03)


def test_fps_thins_out_a_video_of_variable_rate(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_variable(path, [0, 10, 20, 30, 200, 210, 400, 600])
    camera = open_camera(str(path), 10)
    assert greys(camera) == pytest.approx([0, 40, 60, 70], abs=4)
    camera.close()


def write_variable(path: Path, times_ms: list[int]) -> None:
    """Matroska with a JPEG at each of these times: the least that a player needs."""

    def element(number: int, *content: bytes) -> bytes:
        body = b"".join(content)
        name = number.to_bytes((number.bit_length() + 7) // 8, "big")
        return name + (len(body) | 1 << 56).to_bytes(8, "big") + body

    def block(number: int, at_ms: int) -> bytes:
        image = np.full((48, 64, 3), 10 * number, np.uint8)
        jpeg = cv2.imencode(".jpg", image)[1].tobytes()
        return element(0xA3, b"\x81" + at_ms.to_bytes(2, "big") + b"\x80", jpeg)

    video = element(0xE0, element(0xB0, b"\x40"), element(0xBA, b"\x30"))
    track = element(
        0xAE,
        element(0xD7, b"\x01"),
        element(0x73C5, b"\x01"),
        element(0x83, b"\x01"),
        element(0x86, b"V_MJPEG"),
        video,
    )
    blocks = [block(number, at_ms) for number, at_ms in enumerate(times_ms)]
    path.write_bytes(
        element(0x1A45DFA3, element(0x4282, b"matroska"))
        + element(
            0x18538067,
            element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big"))),
            element(0x1654AE6B, track),
            element(0x1F43B675, element(0xE7, b"\x00"), *blocks),
        )
    )


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

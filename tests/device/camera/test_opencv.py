from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from collections.abc import Iterator
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


@pytest.mark.parametrize(
    "uri, words",
    [
        ("/dev/video99", "/dev/video99 is not there; is the camera plugged in?"),
        ("99", "/dev/video99 is not there"),
        ("absent.mp4", "absent.mp4 is not there; it should be a video file or a folder"),
    ],
)
def test_missing(uri: str, words: str) -> None:
    with pytest.raises(CameraError, match=words):
        open_camera(uri, 2)


def test_file_that_is_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(os.urandom(5000))
    with pytest.raises(CameraError, match=r"clip\.mp4 cannot be opened"):
        open_camera(str(path), 2)
    assert capfd.readouterr().err == "", "OpenCV and FFmpeg keep their own comments"


def test_url_that_nobody_serves() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"rtsp://me:s3cret@127.0.0.1:{reserved.getsockname()[1]}/a"
        with pytest.raises(CameraError, match=r"stream rtsp://127\S*/a cannot be opened") as caught:
            open_camera(url, 2)
    assert "s3cret" not in str(caught.value)


def test_silent_server_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(CameraError, match="cannot be opened"):
            open_camera(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/a", 2)
        assert 2.5 < time.monotonic() - began < 6


class _Mjpeg(http.server.BaseHTTPRequestHandler):
    """Motion JPEG at 50 frames a second, then silence with the connection left open."""

    frames = 30
    hung = threading.Event()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for number in range(self.frames):
            image = np.full((48, 64, 3), 5 * number, np.uint8)
            jpeg = cv2.imencode(".jpg", image)[1].tobytes()
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")
            time.sleep(0.02)
        self.hung.wait(10)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def mjpeg() -> Iterator[str]:
    _Mjpeg.hung.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Mjpeg)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/video.mjpg"
    _Mjpeg.hung.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_network_stream_is_thinned_to_fps_and_its_silence_noticed(mjpeg: str) -> None:
    camera = open_camera(mjpeg, 10)
    seen: list[float] = []
    began = time.monotonic()

    def watch() -> None:
        while (frame := camera.read()) is not None:
            seen.append(frame.captured_at)

    with pytest.raises(CameraError, match=r"stream http://\S* delivers nothing"):
        watch()
    assert 1.5 < time.monotonic() - began < 8
    camera.close()
    assert 3 <= len(seen) <= 12
    assert seen == sorted(seen)

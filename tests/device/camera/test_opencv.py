from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera import open_camera


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


def test_url_that_nobody_serves() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"rtsp://me:s3cret@127.0.0.1:{reserved.getsockname()[1]}/a"
        with pytest.raises(
            CameraError, match=r"stream rtsp://127[.:\d]+ cannot be opened"
        ) as caught:
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

"""Cameras over HTTP, served by a small server of the test."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera import Camera, open_camera

Handle = Callable[[http.server.BaseHTTPRequestHandler], None]


def jpeg(value: int, size: tuple[int, int] = (48, 64)) -> bytes:
    return cv2.imencode(".jpg", np.full((*size, 3), value, np.uint8))[1].tobytes()


class Server:
    """Answers as `handle` does, and remembers who has asked for what."""

    def __init__(self, handle: Handle) -> None:
        self.connections: set[tuple[str, int]] = set()
        self.requests: list[dict[str, str]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.connections.add(self.client_address)
                outer.requests.append({**dict(self.headers.items()), "path": self.path})
                handle(self)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(
    handler: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str
) -> None:
    handler.send_response(status)
    for name, value in ({"Content_Type": "image/jpeg"} | headers).items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def serve() -> Iterator[Callable[[Handle], Server]]:
    servers: list[Server] = []

    def begin(handle: Handle) -> Server:
        servers.append(Server(handle))
        return servers[-1]

    yield begin
    for server in servers:
        server.close()


Serve = Callable[[Handle], Server]


def greys(camera: Camera, count: int) -> list[int]:
    found: list[int] = []
    for _ in range(count):
        frame = camera.read()
        assert frame is not None
        found.append(round(float(frame.image.mean())))
    camera.close()
    return found


def test_snapshots_come_over_one_connection_at_fps(serve: Serve) -> None:
    values = iter(range(10, 200, 10))
    server = serve(lambda handler: answer(handler, jpeg(next(values))))
    camera = open_camera(f"http://{server.host}/api/frame.jpeg?src=door", 20)
    began = time.monotonic()
    assert greys(camera, 6) == [10, 20, 30, 40, 50, 60]
    assert 0.24 <= time.monotonic() - began < 3
    assert len(server.connections) == 1
    assert server.requests[0]["path"] == "/api/frame.jpeg?src=door"


def test_picture_that_is_the_same_is_not_sent_again(serve: Serve) -> None:
    asked = [0]

    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        asked[0] += 1
        tag = f'"{asked[0] // 4}"'
        date = "Tue, 01 Dec 2026 10:00:00 GMT"
        if handler.headers["If-None-Match"] == tag:
            answer(handler, b"", 304, ETag=tag)
        else:
            answer(handler, jpeg(10 * asked[0]), ETag=tag, Last_Modified=date)

    server = serve(handle)
    camera = open_camera(f"http://{server.host}/snapshot.jpg", 50)
    assert greys(camera, 3) == [10, 40, 80]
    assert server.requests[1]["If-Modified-Since"] == "Tue, 01 Dec 2026 10:00:00 GMT"
    assert camera.tally.bad == 0


def test_bad_snapshots_are_skipped_and_counted(serve: Serve) -> None:
    whole = jpeg(50)
    bodies = iter(
        [(whole, 200), (whole[:300], 200), (b"<html>", 200), (b"", 503), (b"", 200), (whole, 200)]
    )

    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        body, status = next(bodies)
        answer(handler, body, status)

    camera = open_camera(f"http://{serve(handle).host}/a.jpg", 50)
    assert greys(camera, 2) == [50, 50]
    assert camera.tally.bad == 4


def test_snapshots_that_stay_bad_are_a_failure(serve: Serve) -> None:
    good = [True]

    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        answer(handler, jpeg(50) if good.pop() else b"", 200) if good else answer(handler, b"", 503)

    camera = open_camera(f"http://{serve(handle).host}/s3cret.jpg", 50, stall_s=0.3)
    assert camera.read() is not None
    began = time.monotonic()
    with pytest.raises(CameraError, match=r"http://127[.:\d]+ answers 503"):
        camera.read()
    assert 0.3 <= time.monotonic() - began < 3
    camera.close()


@pytest.mark.parametrize("kind", ["basic", "md5", "sha-256", "old", "none"])
def test_credentials(serve: Serve, kind: str) -> None:
    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        said = handler.headers["Authorization"] or ""
        if kind == "basic":
            good = said == "Basic bWU6cEBzcy93OnJk"
            challenge = 'Basic realm="camera"'
        else:
            algorithm = {"md5": "MD5", "sha-256": "SHA-256"}.get(kind, "")
            challenge = 'Digest realm="a, camera", nonce="n1"'
            challenge += f', algorithm={algorithm}, qop="auth,auth-int"' if algorithm else ""
            good = digest_fits(said, algorithm)
        if good:
            answer(handler, jpeg(70))
        else:
            answer(handler, b"no", 401, WWW_Authenticate=challenge)

    server = serve(handle)
    user = "" if kind == "none" else "me:p%40ss%2Fw%3Ard@"
    if kind == "none":
        with pytest.raises(CameraError, match="refuses the user name or the password"):
            open_camera(f"http://{server.host}/a.jpg", 50)
        return
    assert greys(open_camera(f"http://{user}{server.host}/a.jpg?x=1", 50), 4) == [70] * 4
    assert len(server.requests) == 5, "one challenge"
    assert len(server.connections) == 1


def digest_fits(said: str, algorithm: str) -> bool:
    name = {"SHA-256": "sha256"}.get(algorithm, "md5")

    def digest(text: str) -> str:
        return hashlib.new(name, text.encode()).hexdigest()

    fields = dict(re.findall(r'(\w+)="?([^",]*)"?', said.removeprefix("Digest ")))
    middle = f"{fields.get('nc')}:{fields.get('cnonce')}:auth:" if algorithm else ""
    secret, request = digest("me:a, camera:p@ss/w:rd"), digest("GET:/a.jpg?x=1")
    return fields.get("response") == digest(f"{secret}:n1:{middle}{request}")


def test_password_goes_to_no_other_server(serve: Serve) -> None:
    other = serve(lambda handler: answer(handler, b"", 401, WWW_Authenticate='Basic realm="x"'))

    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        answer(handler, b"", 302, Location=f"http://{other.host}/b.jpg")

    with pytest.raises(CameraError, match="refuses the user name"):
        open_camera(f"http://me:s3cret@{serve(handle).host}/a.jpg", 5)
    assert "Authorization" not in other.requests[0]


def test_bad_parts_of_motion_jpeg_are_skipped_and_counted(serve: Serve) -> None:
    whole = jpeg(50)
    damaged = whole[:30] + bytes(100) + whole[130:]
    bad = [whole[:300], b"", b"<html>busy</html>", bytes(2000), damaged]

    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        for number in range(30):
            part = bad[number // 5 - 1] if number % 5 == 0 and 0 < number < 30 else whole
            handler.wfile.write(b"--frame\r\n\r\n" + part + b"\r\n")
            time.sleep(0.01)
        handler.close_connection = True

    camera = open_camera(f"http://{serve(handle).host}/stream", 1e6)
    assert greys_to_the_end(camera) == [50] * 25
    assert camera.tally.bad == 5


def greys_to_the_end(camera: Camera) -> list[int]:
    found: list[int] = []

    def watch() -> None:
        while (frame := camera.read()) is not None:
            found.append(round(float(frame.image.mean())))

    with pytest.raises(CameraError, match="delivers nothing any more"):
        watch()
    camera.close()
    return found


@pytest.mark.parametrize("content_type", ["", "text/plain"])
def test_content_decides_where_the_type_does_not(serve: Serve, content_type: str) -> None:
    def handle(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if content_type:
            handler.send_header("Content-Type", content_type)
        handler.end_headers()
        for value in (10, 20, 30):
            handler.wfile.write(b"--x\r\n\r\n" + jpeg(value) + b"\r\n")
        handler.close_connection = True

    assert greys_to_the_end(open_camera(f"http://{serve(handle).host}/", 1e6)) == [10, 20, 30]


def test_web_page_is_no_camera(serve: Serve) -> None:
    server = serve(lambda handler: answer(handler, b"<html>", Content_Type="text/html"))
    with pytest.raises(CameraError, match="answers with a web page"):
        open_camera(f"http://{server.host}/index.html?pwd=s3cret", 5)


def test_large_snapshot_is_shrunk(serve: Serve) -> None:
    server = serve(lambda handler: answer(handler, jpeg(50, (6200, 8200))))
    frame = open_camera(f"http://{server.host}/a.jpg", 5).read()
    assert frame is not None
    assert frame.image.shape == (3100, 4100, 3)

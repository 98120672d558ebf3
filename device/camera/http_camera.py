"""Cameras over HTTP: pictures asked for one by one, and motion JPEG. What each answers decides.

Other answers, such as MPEG-TS or a playlist, are FFmpeg's.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Final

from aiflow.common.errors import CameraError
from aiflow.device.camera.base import DATA_S, Camera, Frame, Pace, Tally
from aiflow.device.camera.http_client import Fault, HttpClient
from aiflow.device.camera.multipart import MAX_PART_BYTES, MultipartReader, whole
from aiflow.device.camera.opencv import open_url
from aiflow.device.camera.pictures import decoded

CHUNK_BYTES: Final = 262_144
_LOOK_BYTES: Final = 16


def open_http(url: str, shown: str, fps: float, stall_s: float) -> Camera:
    """Ask once, and take the camera that fits the answer. Raises CameraError."""
    client = HttpClient(url, f"stream {shown}", stall_s)
    try:
        response = client.get({})
        kind = _kind(response)
    except Fault as error:
        client.close()
        raise CameraError(f"stream {shown} cannot be opened: {_why(error)}") from None
    except CameraError:
        client.close()
        raise
    if kind == "still":
        return StillCamera(client, response, fps, stall_s)
    if kind == "parts":
        return MotionJpegCamera(client, response, fps, stall_s)
    client.close()
    if kind == "other":
        return open_url(url, shown, fps, stall_s)
    raise CameraError(f"stream {shown} {kind}")


def _kind(response: http.client.HTTPResponse) -> str:  # noqa: PLR0911 - a list of cases
    """`still`, `parts`, `other`, or in words what is wrong. Raises `Fault`."""
    if response.status != http.client.OK:
        return _refusal(response.status)
    said = response.headers.get_content_type() if "Content-Type" in response.headers else ""
    if said.startswith("multipart/"):
        return "parts"
    if said.startswith("image/"):
        return "still"
    # Not the type but the content is asked where the type may be a mere default.
    begins = response.peek(_LOOK_BYTES).lstrip(b"\r\n")
    if begins.startswith(b"\xff\xd8\xff"):
        return "still" if response.length is not None else "parts"
    if begins.startswith(b"--") or begins[:8].lower() == b"content-":
        return "parts"
    if said in {"text/html", "application/json"}:
        return "answers with a web page, not with pictures"
    return "other"


def _refusal(status: int) -> str:
    if status == http.client.UNAUTHORIZED:
        return "refuses the user name or the password (401)"
    words = http.client.responses.get(status, "no status of HTTP")
    return f"answers {status} ({words})"


def _why(error: BaseException) -> str:
    """Without the error's own text, which may hold the URL."""
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return "it does not speak HTTP"


class StillCamera:
    """A URL that gives one picture for each request: it is asked at `fps`."""

    data_s = DATA_S

    def __init__(
        self, client: HttpClient, response: http.client.HTTPResponse, fps: float, stall_s: float
    ) -> None:
        """`response` is the first picture's."""
        self._client = client
        self._first: http.client.HTTPResponse | None = response
        self._known: dict[str, str] = {}
        self._pace = Pace(fps)
        self._index = 0
        self.tally = Tally(stall_s)

    def read(self) -> Frame | None:
        while True:
            self.tally.quiet_until = self._pace.due_at
            self._pace.wait()
            if self._pace.ended:
                return None
            frame = self._asked()
            if frame is not None:
                return frame

    def interrupt(self) -> None:
        self._pace.end()

    def close(self) -> None:
        self._client.close()

    def _asked(self) -> Frame | None:
        """A new picture; None where there is none now. Raises CameraError when it stays so."""
        try:
            response = self._first or self._client.get(self._known)
            self._first = None
            captured_at = time.time()
            data = response.read(MAX_PART_BYTES)
            if not response.isclosed():  # a body without an end
                self._client.close()
        except Fault as error:
            self._client.close()
            self.tally.skip(f"{self._client.name} delivers nothing: {_why(error)}")
            return None
        if response.status == http.client.NOT_MODIFIED:
            self.tally.good()
            return None
        if response.status != http.client.OK:
            self.tally.skip(f"{self._client.name} {_refusal(response.status)}")
            return None
        image = decoded(data)
        if image is None:
            self.tally.skip(f"{self._client.name} sends nothing that can be decoded")
            return None
        self.tally.good()
        self._remember(response)
        frame = Frame(image, captured_at, self._index)
        self._index += 1
        return frame

    def _remember(self, response: http.client.HTTPResponse) -> None:
        """The next request asks only for a picture that differs from this one."""
        asks = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
        said = {ask: response.headers.get(field) for field, ask in asks.items()}
        self._known = {ask: value for ask, value in said.items() if value is not None}


class MotionJpegCamera:
    """A stream of pictures: it sets the pace, and only those that are due at `fps` are decoded."""

    data_s = DATA_S

    def __init__(
        self, client: HttpClient, response: http.client.HTTPResponse, fps: float, stall_s: float
    ) -> None:
        self._client = client
        self._response = response
        boundary = response.headers.get_boundary() or ""
        self._parts = self._whole(MultipartReader(self._read, boundary))
        self._pace = Pace(fps)
        self._index = 0
        self.tally = Tally(stall_s)

    def read(self) -> Frame | None:
        for part in self._parts:
            if time.monotonic() < self._pace.due_at:
                continue
            image = decoded(part)
            if image is None:
                self._skip()
                continue
            self._pace.wait()
            self.tally.good()
            frame = Frame(image, time.time(), self._index)
            self._index += 1
            return frame
        raise CameraError(f"{self._client.name} delivers nothing any more")

    def interrupt(self) -> None:
        """Nothing waits here but the network; a process of its own ends it if it must."""

    def close(self) -> None:
        self._response.close()
        self._client.close()

    def _whole(self, parts: MultipartReader) -> Iterator[bytes]:
        """Parts that look like pictures. Some cameras never send a JPEG's end: it may lack then."""
        ends = False
        for part in parts:
            if whole(part):
                ends = True
                yield part
            elif part and not ends and part.startswith(b"\xff\xd8"):
                yield part
            else:
                self._skip()

    def _skip(self) -> None:
        self.tally.skip(f"{self._client.name} sends nothing that can be decoded")

    def _read(self) -> bytes:
        """Raises CameraError after a silence of `stall_s`."""
        try:
            return self._response.read1(CHUNK_BYTES)
        except TimeoutError:
            raise CameraError(f"{self._client.name} delivers nothing") from None
        except Fault:
            return b""

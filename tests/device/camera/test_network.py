"""Network cameras: servers in processes of their own, watched by a real `Capture`.

Each is opened in a camera's process, as in the daemon. GStreamer's RTSP server sends H.264; the one
in `streams.py` sends motion JPEG by RTSP and HTTP, and misbehaves on demand.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiflow.common.metrics import Counters
from aiflow.device import capture as module
from aiflow.device.camera import Frame
from aiflow.device.camera.exchange import Order
from aiflow.device.camera.process import CameraProcess
from aiflow.device.capture import Capture, Limits, Process

if TYPE_CHECKING:
    from tests.device.conftest import WaitUntil

HERE = Path(__file__).parent
SYSTEM_PYTHON = "/usr/bin/python3"
FPS = 10.0
PATIENT = Limits(stall_s=3.0)


class Server:
    """A network camera."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.port = self.process.stdout.readline().decode().strip()

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Watched:
    """A camera that is watched, and what has been heard of it."""

    def __init__(self, name: str, launch: Callable[[], Process], limits: Limits = PATIENT) -> None:
        self.counters = Counters()
        self.indices: list[int] = []
        self.statuses: list[tuple[str, float]] = []
        self.noisy = False
        self.capture = Capture(
            name,
            launch,
            self._take,
            lambda status: self.statuses.append((status, time.monotonic())),
            limits=limits,
            counters=self.counters,
        )
        self.capture.start()
        self.capture.switch(on=True)

    def _take(self, frame: Frame) -> None:
        self.indices.append(frame.index)
        self.noisy = frame.image.shape == (120, 160, 3) and frame.image.std() > 5
        frame.release()

    @property
    def status(self) -> str:
        return self.statuses[-1][0] if self.statuses else ""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_S", (0.1, 0.2))


@pytest.fixture
def serve(stack: ExitStack) -> Callable[[str, str], Server]:
    def begin(protocol: str, behaviour: str) -> Server:
        server = Server(sys.executable, str(HERE / "streams.py"), protocol, behaviour)
        stack.callback(server.close)
        return server

    return begin


@pytest.fixture
def gstreamer(stack: ExitStack) -> Server:
    return gstreamer_server(stack)


def gstreamer_server(stack: ExitStack, *options: str) -> Server:
    if not Path(SYSTEM_PYTHON).exists():
        pytest.skip(f"needs {SYSTEM_PYTHON}")
    server = Server(SYSTEM_PYTHON, str(HERE / "gstreamer_rtsp.py"), *options)
    stack.callback(server.close)
    if not server.port:
        pytest.skip("needs GStreamer's RTSP server; scripts/setup --rtsp installs it")
    return server


@pytest.fixture
def watch(stack: ExitStack) -> Callable[..., Watched]:
    def begin(url: str, program: list[str] | None = None, limits: Limits = PATIENT) -> Watched:
        order = Order(url, FPS, stall_s=limits.stall_s)

        def launch() -> CameraProcess:
            return CameraProcess(order) if program is None else CameraProcess(order, program)

        watched = Watched("door", launch, limits)
        stack.callback(watched.capture.join, 30)
        stack.callback(watched.capture.close)
        return watched

    return begin


Serve = Callable[[str, str], Server]
Watch = Callable[..., Watched]


def url(protocol: str, server: Server) -> str:
    return f"{protocol}://127.0.0.1:{server.port}/camera"


@pytest.mark.parametrize("protocol", ["rtsp", "http"])
def test_stream_is_played(protocol: str, serve: Serve, watch: Watch, wait_until: WaitUntil) -> None:
    camera = watch(url(protocol, serve(protocol, "plays")))
    wait_until(lambda: len(camera.indices) >= 20, "it is not played")
    assert camera.noisy
    assert camera.indices == [*range(len(camera.indices))]
    assert camera.status == "online"


def test_streams_that_break_off_are_opened_again(
    serve: Serve, watch: Watch, wait_until: WaitUntil
) -> None:
    kinds = itertools.product(("rtsp", "http"), ("stalls", "babbles"))
    # Side by side, as each waits for seconds.
    cameras = [watch(url(protocol, serve(protocol, behaviour))) for protocol, behaviour in kinds]
    for camera in cameras:
        wait_until(lambda: len(camera.statuses) >= 3, "it is not noticed, or not opened again")  # noqa: B023
        (first, online), (second, offline), (third, _) = camera.statuses[:3]
        assert (first, second, third) == ("online", "offline", "online")
        assert offline - online < 10, "25 frames, and 3 s of silence"
        assert camera.counters.value("aiflow_camera_reconnects_total") >= 1
        assert camera.counters.value("aiflow_camera_deaths_total") == 0


def test_camera_that_is_not_there_yet(
    serve: Serve, watch: Watch, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        camera = watch(f"rtsp://me:s3cret@127.0.0.1:{reserved.getsockname()[1]}/a")
        reconnects = "aiflow_camera_reconnects_total"
        wait_until(lambda: camera.counters.value(reconnects) >= 2, "it is not tried again")
    assert camera.status == "offline"
    (line,) = [record.getMessage() for record in caplog.records]
    assert " cannot be opened (it is opened again until it works)" in line
    assert "s3cret" not in line
    assert "/a" not in line
    assert camera.statuses[0][0] == "offline"


def test_real_server_that_freezes_and_goes_on(
    gstreamer: Server, watch: Watch, wait_until: WaitUntil
) -> None:
    camera = watch(url("rtsp", gstreamer))
    wait_until(lambda: len(camera.indices) >= 10, "it is not played")
    assert camera.noisy
    gstreamer.process.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait_until(lambda: camera.status == "offline", "the stall is not noticed")
    assert camera.statuses[-1][1] - stopped < 6, "2 s by FFmpeg, 3 s by us"
    gstreamer.process.send_signal(signal.SIGCONT)
    before = len(camera.indices)
    wait_until(lambda: len(camera.indices) >= before + 10, "it is not opened again")
    assert camera.status == "online"


def test_key_frame_is_waited_for_while_data_come(
    stack: ExitStack, watch: Watch, wait_until: WaitUntil
) -> None:
    """A second viewer of a stream with a key frame each 12 s, which allows 1 s of silence."""
    server = gstreamer_server(stack, "300")
    first = watch(url("rtsp", server))
    wait_until(lambda: len(first.indices) >= 5, "it is not played")
    second = watch(url("rtsp", server), limits=Limits(stall_s=1.0))
    began = time.monotonic()
    wait_until(lambda: second.status == "online", "it gives up")
    assert time.monotonic() - began < 14
    assert [status for status, _ in second.statuses] == ["online"]
    assert second.counters.snapshot() == {}


def test_stream_of_less_than_a_frame_in_two_seconds(
    serve: Serve, watch: Watch, wait_until: WaitUntil
) -> None:
    cameras = [watch(url(protocol, serve(protocol, "drips"))) for protocol in ("http", "rtsp")]
    for camera in cameras:
        wait_until(lambda: len(camera.indices) >= 3, "it is not played")  # noqa: B023
        assert [status for status, _ in camera.statuses] == ["online"]
        assert camera.counters.value("aiflow_camera_reconnects_total") == 0


def test_picture_that_takes_its_time_is_waited_for(
    serve: Serve, watch: Watch, wait_until: WaitUntil
) -> None:
    camera = watch(url("http", serve("http", "trickles")), limits=Limits(stall_s=1.0))
    wait_until(lambda: len(camera.indices) >= 3, "it is not played")
    assert [status for status, _ in camera.statuses] == ["online"]


def test_bad_frames_are_skipped_and_counted(
    serve: Serve, watch: Watch, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    bad = "aiflow_camera_bad_frames_total"
    http, rtsp = (watch(url(protocol, serve(protocol, "errs"))) for protocol in ("http", "rtsp"))
    wait_until(lambda: http.counters.value(bad) >= 3, "they are not counted")
    for camera in (http, rtsp):
        seen = len(camera.indices)
        wait_until(lambda: len(camera.indices) > seen + 15, "it does not go on")  # noqa: B023
        assert [status for status, _ in camera.statuses] == ["online"]
        assert camera.counters.value("aiflow_camera_reconnects_total") == 0
    assert "Traceback" not in caplog.text
    assert 1 <= caplog.text.count("bad frames") <= 2, "once a minute and camera"


def test_camera_that_hangs_for_ever_costs_the_other_one_no_frame(
    watch: Watch, wait_until: WaitUntil
) -> None:
    strange = [sys.executable, str(HERE / "strange.py"), "hangs"]
    well = watch("synthetic:street?fps=20&frames=60")
    ill = watch("0", strange, Limits(stall_s=0.5))
    wait_until(lambda: well.status == "offline", "the street has no end")
    assert well.capture.captured == 60
    assert well.indices[-1] == 59
    stalls = "aiflow_camera_stalls_total"
    wait_until(lambda: ill.counters.value(stalls) >= 2, "it is not started again and again")
    # Three frames of each process, in each of its lives.
    assert ill.indices == [index % 3 for index in range(len(ill.indices))]


def test_process_that_is_killed_is_started_again(stack: ExitStack, wait_until: WaitUntil) -> None:
    processes: list[CameraProcess] = []

    def launch() -> CameraProcess:
        processes.append(CameraProcess(Order("synthetic:street", 50.0, 160, 120)))
        return processes[-1]

    camera = Watched("door", launch)
    stack.callback(camera.capture.join, 30)
    stack.callback(camera.capture.close)
    for life in range(3):
        wait_until(lambda: len(camera.statuses) == 2 * life + 1, "it is not started again")  # noqa: B023
        killed = time.monotonic()
        os.kill(processes[life].pid, signal.SIGKILL)
        wait_until(lambda: camera.status == "offline", "it is not noticed")
        assert camera.statuses[-1][1] - killed < 1
        with pytest.raises(ChildProcessError):  # no zombie is left
            os.waitpid(processes[life].pid, os.WNOHANG)
    assert camera.counters.value("aiflow_camera_deaths_total") == 3


def test_frozen_view_is_told_and_the_camera_opened_anew_once(
    stack: ExitStack, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    program = [sys.executable, str(HERE / "strange.py"), "freezes"]
    order = Order("0", FPS, checksums=True)
    processes: list[CameraProcess] = []

    def launch() -> CameraProcess:
        processes.append(CameraProcess(order, program))
        return processes[-1]

    camera = Watched("door", launch, limits=Limits(stall_s=3.0, frozen_s=0.3))
    stack.callback(camera.capture.join, 30)
    stack.callback(camera.capture.close)
    wait_until(lambda: len(camera.statuses) == 3, "it is not opened anew")
    assert [status for status, _ in camera.statuses] == ["online", "offline", "online"]
    before = len(camera.indices)
    wait_until(lambda: len(camera.indices) > before + 60, "it does not go on")
    assert camera.capture.frozen
    assert len(processes) == 2
    assert caplog.text.count("it gives the very same picture for 0.3 s") == 1
    assert camera.counters.snapshot() == {
        "aiflow_camera_frozen_total": 1,
        "aiflow_camera_reconnects_total": 1,
    }

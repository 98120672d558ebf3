"""A device's cameras as its owner sees them: the status topic, while processes and servers fail."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.system.conftest import START_S, wait_until

if TYPE_CHECKING:
    from tests.system.conftest import System

STREAMS = Path(__file__).parents[1] / "device" / "camera" / "streams.py"
PATIENCE_S = 30.0


class Camera:
    """The system's one camera, from outside."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._topic = system.topics.status(system.plan.device, system.plan.camera)

    def statuses(self) -> list[bytes]:
        return self._system.recorder.messages(self._topic)

    def becomes(self, status: bytes) -> float:
        """Wait until the status is this; seconds that it took."""
        began = time.monotonic()
        while self.statuses()[-1:] != [status]:
            assert time.monotonic() - began < PATIENCE_S, (status, self.statuses())
            time.sleep(0.02)
        return time.monotonic() - began

    def process(self) -> int:
        """Id of its process."""
        tasks = Path(f"/proc/{self._system.tiers['device'].pid}/task")
        (pid,) = " ".join((task / "children").read_text() for task in tasks.iterdir()).split()
        return int(pid)


def gone(pid: int) -> bool:
    """Whether a process has ended, waiting for it."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], PATIENCE_S)[0])
    finally:
        os.close(process)


@pytest.fixture
def camera(system: System) -> Camera:
    return Camera(system)


@pytest.fixture
def rtsp(system: System) -> Iterator[subprocess.Popen[bytes]]:
    """A network camera, which the device is configured to look at."""
    command = [sys.executable, str(STREAMS), "rtsp", "plays"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        path = system.folder / "device.toml"
        text = path.read_text()
        uri = text.partition("uri = ")[2].partition("\n")[0]
        path.write_text(text.replace(uri, f'"rtsp://127.0.0.1:{port}/camera"'))
        yield server
        server.kill()


def test_camera_s_process_that_is_killed_costs_a_moment(system: System, camera: Camera) -> None:
    system.start()
    system.wait_for_captions(1)
    assert camera.statuses()[-1] == b"online"
    captions = len(system.captioned())
    os.kill(camera.process(), signal.SIGKILL)
    assert camera.becomes(b"offline") < 3
    camera.becomes(b"online")
    system.wait_for_captions(captions + 3)
    log = system.tiers["device"].log_path
    wait_until(
        lambda: "its process was ended by SIGKILL" in log.read_text(), START_S, "the device says so"
    )


def test_killed_device_leaves_no_process(system: System, camera: Camera) -> None:
    system.start("device")
    camera.becomes(b"online")
    process = camera.process()
    os.kill(system.tiers["device"].pid, signal.SIGKILL)  # and not its group
    assert gone(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_device_whose_camera_is_silent_ends_quickly_all_the_same(
    system: System,
    camera: Camera,
    rtsp: subprocess.Popen[bytes],
    number: signal.Signals,
) -> None:
    device = system.tiers["device"]
    system.start("device")
    camera.becomes(b"online")
    process = camera.process()
    rtsp.send_signal(signal.SIGSTOP)
    os.kill(process, signal.SIGSTOP)  # not even the end of the connection reaches it
    began = time.monotonic()
    os.kill(device.pid, number)
    assert device.wait(PATIENCE_S) == 0
    assert time.monotonic() - began < 3, "0.5 s for the camera; the rest is this machine"
    assert gone(process)
    assert camera.statuses()[-1] == b"offline"
    assert "Traceback" not in device.log_path.read_text()


def test_status_follows_a_network_camera(
    system: System, camera: Camera, rtsp: subprocess.Popen[bytes]
) -> None:
    system.start("device")
    camera.becomes(b"online")
    rtsp.send_signal(signal.SIGSTOP)
    assert camera.becomes(b"offline") < 6, "3 s, and what this machine adds"
    rtsp.send_signal(signal.SIGCONT)
    camera.becomes(b"online")
    process = camera.process()
    system.camera("OFF")
    camera.becomes(b"disabled")
    assert gone(process)
    system.camera("ON")
    camera.becomes(b"online")

"""Cameras in processes of their own, real ones; what a driver does is played by `strange.py`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera import Frame
from aiflow.device.camera.exchange import Ended, Failed, Message, Opened, Order, Shot
from aiflow.device.camera.process import CameraProcess
from aiflow.device.camera.ring import SLOTS
from aiflow.street.animation import Street

if TYPE_CHECKING:
    from tests.device.conftest import WaitUntil

STRANGE = Path(__file__).with_name("strange.py")
PATIENCE_S = 30.0

Start = Callable[..., CameraProcess]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[CameraProcess] = []

    def begin(uri: str = "synthetic:street?fps=50", **options: object) -> CameraProcess:
        processes.append(CameraProcess(Order(uri, 50.0, 64, 48, **options)))  # type: ignore[arg-type]
        return processes[-1]

    yield begin
    for process in processes:
        assert process.end(0.0)


@pytest.fixture
def strange() -> Iterator[Start]:
    processes: list[CameraProcess] = []

    def begin(way: str) -> CameraProcess:
        program = [sys.executable, str(STRANGE), way]
        processes.append(CameraProcess(Order("0", 50.0), program))
        return processes[-1]

    yield begin
    for process in processes:
        assert process.end(0.0)


def heard(process: CameraProcess) -> Message | None:
    readable, _, _ = select.select([process], [], [], PATIENCE_S)
    assert readable, "nothing is said"
    return process.hear()


def shot(process: CameraProcess) -> Shot:
    message = heard(process)
    if isinstance(message, Opened):
        message = heard(process)
    assert isinstance(message, Shot), message
    return message


def deaf(pid: int) -> bool:
    """Whether a process ignores SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


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


def test_pictures_come_as_they_are(start: Start) -> None:
    process = start("synthetic:street?seed=7&fps=20&strength=none&frames=5")
    assert heard(process) == Opened()
    street, frames = Street(7), []
    for number in range(5):
        frame = process.frame(shot(process))
        assert np.array_equal(frame.image, street.frame(number / 20, (64, 48), "none").image)
        assert not frame.image.flags.writeable
        frames.append(frame.index)
        frame.release()
    assert heard(process) == Ended()
    assert heard(process) is None
    assert process.end(PATIENCE_S)
    assert (frames, process.fate) == ([*range(5)], "its process ended with status 0")


def test_slot_that_is_looked_at_is_not_written(start: Start) -> None:
    process = start()
    frames: list[Frame] = [process.frame(shot(process)) for _ in range(SLOTS)]
    seen = [frame.image.copy() for frame in frames]
    assert not select.select([process], [], [], 0.3)[0], "it does not wait for its memory"
    assert all(np.array_equal(frame.image, one) for frame, one in zip(frames, seen, strict=True))
    frames[1].release()
    late = process.frame(shot(process))
    assert np.shares_memory(late.image, frames[1].image)
    assert late.index > frames[2].index
    assert process.end(PATIENCE_S)
    assert np.array_equal(frames[0].image, seen[0]), "it outlives its process"
    frames[0].release()


def test_size_of_pictures_may_change(strange: Start) -> None:
    process = strange("grows")
    for height in range(32, 40):
        frame = process.frame(shot(process))
        assert frame.image.shape == (height, 48, 3)
        assert (frame.image == height - 32).all()
        frame.release()


def test_picture_that_is_too_large(strange: Start) -> None:
    process = strange("swells")
    for _ in range(4):
        process.frame(shot(process)).release()
    message = heard(process)
    assert isinstance(message, Failed)
    assert "a picture of 5000x5000 does not fit: 64 MiB is the most" in message.fault


def test_checksum_tells_pictures_apart(start: Start) -> None:
    still = start("synthetic:street?fps=50&strength=normal", checksums=True)
    sums = []
    for _ in range(4):
        message = shot(still)
        sums.append(message.checksum)
        still.frame(message).release()
    assert len(set(sums)) == 4, "a sensor has noise"


@pytest.mark.parametrize(
    "uri, words",
    [
        ("/dev/video99", "/dev/video99 is not there; is the camera plugged in?"),
        ("synthetic:moon", "no synthetic world 'moon'"),
        ("gst:videotestsrc ! appsink", "this OpenCV has no GStreamer"),
        ("picamera2:0", "sudo apt install python3-picamera2"),
    ],
)
def test_camera_that_cannot_be_opened_says_why(start: Start, uri: str, words: str) -> None:
    process = start(uri)
    message = heard(process)
    assert isinstance(message, Failed)
    assert words in message.fault
    assert heard(process) is None


def test_camera_that_fails_when_nobody_hears_any_more(
    strange: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    process = strange("fails late in open")
    assert process.end(PATIENCE_S)
    assert process.fate == "its process ended with status 0"
    assert capfd.readouterr().err == ""


def test_what_cannot_be_started_leaves_nothing_open() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(CameraError, match="its process cannot be started: No such file"):
            CameraProcess(Order("0", 2.0), ["/no/such/program"])
        with pytest.raises(CameraError, match="its process cannot be started: Message too long"):
            CameraProcess(Order("x" * 10**7, 2.0))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("way", ["hangs in open", "sleeps in open", "hangs"])
def test_driver_that_hangs_for_ever_is_ended(
    strange: Start, way: str, wait_until: WaitUntil
) -> None:
    process = strange(way)
    for _ in range(3 if way == "hangs" else 0):
        process.frame(shot(process)).release()
    wait_until(lambda: deaf(process.pid), "it does not ignore SIGTERM")
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process.pid, number)
    assert not select.select([process], [], [], 0.3)[0], "it does not hang"
    began = time.monotonic()
    assert process.end(0.2)
    assert time.monotonic() - began < 2
    assert process.fate == "its process was ended by SIGKILL"
    with pytest.raises(ChildProcessError):  # no zombie is left
        os.waitpid(process.pid, os.WNOHANG)


def test_kill_is_noticed_at_once(start: Start) -> None:
    process = start()
    shot(process)
    os.kill(process.pid, signal.SIGKILL)
    while (message := heard(process)) is not None:
        assert isinstance(message, Shot)
    assert process.end(PATIENCE_S)
    assert process.fate == "its process was ended by SIGKILL"


@pytest.mark.parametrize(
    "way, fate",
    [
        ("crashes", "its process was ended by SIGSEGV"),
        ("errs", "its process ended with status 1"),
    ],
)
def test_crash_is_told(
    strange: Start, way: str, fate: str, capfd: pytest.CaptureFixture[str]
) -> None:
    process = strange(way)
    for _ in range(3):
        process.frame(shot(process)).release()
    assert heard(process) is None
    assert process.end(PATIENCE_S)
    assert process.fate == fate
    assert ("ZeroDivisionError" in capfd.readouterr().err) == (way == "errs")


def test_nonsense_is_not_believed(strange: Start) -> None:
    process = strange("babbles")
    for _ in range(3):
        process.frame(shot(process)).release()
    with pytest.raises(CameraError, match="its process says what makes no sense"):
        heard(process)


def test_asked_to_end_it_closes_its_camera(start: Start, tmp_path: Path) -> None:
    process = start(f"synthetic:street?fps=0.01&truth={tmp_path / 'truth'}")  # waits for 100 s
    process.frame(shot(process)).release()
    began = time.monotonic()
    assert process.end(PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S / 2
    assert process.fate == "its process ended with status 0"


def test_ctrl_c_and_a_service_manager_s_sigterm_are_for_the_daemon_alone(start: Start) -> None:
    process = start()
    process.frame(shot(process)).release()
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(process.pid, number)
    for _ in range(3 * SLOTS):
        process.frame(shot(process)).release()


def test_nothing_secret_is_handed_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIFLOW_BROKER__PASSWORD", "s3cret")
    process = start("rtsp://me:s3cret@127.0.0.1:9/a")
    for file in ("cmdline", "environ"):
        assert b"s3cret" not in Path(f"/proc/{process.pid}/{file}").read_bytes()
    message = heard(process)
    assert isinstance(message, Failed)
    assert "s3cret" not in message.fault


def test_only_what_a_camera_needs_is_loaded(start: Start) -> None:
    process = start()
    shot(process)
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "cv2" in maps
    assert not any(name in maps for name in ("onnxruntime", "pydantic", "tokenizers", "sqlite"))


# A daemon whose camera's process is killed with it, whatever that one does.
DAEMON = """
import sys, time
from aiflow.device.camera.exchange import Order
from aiflow.device.camera.process import CameraProcess
process = CameraProcess(Order("synthetic:street", 50.0, 64, 48), sys.argv[1:] or None or
    [sys.executable, "-P", "-m", "aiflow.device.camera.child"])
if not sys.argv[1:] or sys.argv[-1] == "hangs":
    for _ in range(3):
        process.hear()
print(process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("way", [None, "hangs", "hangs in open"])
def test_killed_daemon_leaves_no_process(way: str | None) -> None:
    program = [] if way is None else [sys.executable, str(STRANGE), way]
    command = [sys.executable, "-c", DAEMON, *program]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
        assert gone(pid)

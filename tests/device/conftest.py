"""Stand-ins for what a device is made of: a bundle, an encoder, a camera, a clock."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from aiflow.common.bundle import Bundle, EncoderFacts, Manifest
from aiflow.common.codec import Tables
from aiflow.common.encoder import Encoding
from aiflow.common.errors import CameraError
from aiflow.common.metrics import Counters
from aiflow.device.camera import Camera, Frame, Image
from aiflow.device.camera.base import Tally
from aiflow.device.camera.child import serve
from aiflow.device.camera.exchange import Order
from aiflow.device.camera.feed import Feed
from aiflow.device.camera.ring import Ring

TOKENS, DIMS, LEVELS, LAYERS = 6, 3, 5, (4, 6)
TABLES = Tables.uniform(TOKENS, DIMS, LEVELS, layers=LAYERS)
BUNDLE_ID = "ab" * 32
PATIENCE_S = 30.0

NewFrame = Callable[..., Frame]
WaitUntil = Callable[[Callable[[], object], str], None]


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def picture(value: int, size: tuple[int, int] = (64, 48)) -> Image:
    """A plain grey image of (width, height)."""
    return np.full((size[1], size[0], 3), value, np.uint8)


def frame(value: int, index: int = 0, captured_at: float | None = None) -> Frame:
    return Frame(picture(value), time.time() if captured_at is None else captured_at, index)


def toy_bundle() -> Bundle:
    """No files: only what a device asks of its bundle."""
    facts = EncoderFacts(
        width=64,
        height=48,
        tokens=TOKENS,
        dims=DIMS,
        levels=(LEVELS,) * DIMS,
        layers=LAYERS,
        macs=0,
        parameters=0,
    )
    manifest = Manifest(
        format=1,
        name="toy",
        version="1",
        license="Apache-2.0",
        description="",
        encoder=facts,
        decoders={},
        escalate_below=0.5,
        roles={},
        sha256={},
        training={},
        figures={},
    )
    bundle = Bundle(Path("toy"), manifest, BUNDLE_ID)
    bundle.__dict__["tables"] = TABLES
    return bundle


class FakeEncoder:
    """The symbols tell the grey value of the image, in base 5."""

    def __init__(self) -> None:
        self.calls = 0
        self.fault: Exception | None = None

    def fitted(self, image: Image) -> Image:
        return image

    def encode(self, image: Image) -> Encoding:
        self.calls += 1
        if self.fault is not None:
            raise self.fault
        value = int(image[0, 0, 0])
        digits = [value // 5**power % 5 for power in range(TOKENS * DIMS)]
        symbols = np.array(digits, np.uint8).reshape(TOKENS, DIMS)
        return Encoding(symbols, symbols.astype(np.float32))


class Killed(Exception):
    """What SIGKILL is to a process, to a thread that waits in a `FakeCamera`."""


class CameraThread(Feed):
    """A camera's process without the process: the same code, in a thread of the test."""

    def __init__(self, opens: Callable[[], Camera]) -> None:
        super().__init__(Order("0", 100.0))
        self._opens = opens
        self._camera: Camera | None = None
        self._written = Ring(self.memory, writable=True)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(Killed):
            serve(self.theirs, self._written, lambda *_: self._open())
        self.given()

    def _open(self) -> Camera:
        self._camera = self._opens()
        return self._camera

    def end(self, grace_s: float) -> bool:
        self.hang_up()
        self._thread.join(grace_s)
        deadline = time.monotonic() + PATIENCE_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            # Again and again: it may be on its way into the read.
            if isinstance(self._camera, FakeCamera):
                if self._camera.immortal:
                    return False
                self._camera.kill()
            self._thread.join(0.01)
        return not self._thread.is_alive()

    @property
    def fate(self) -> str:
        return "its process cannot be ended" if self._thread.is_alive() else "its process has died"


class FakeCamera:
    """Gives what the test puts in; hangs, fails or ends on demand."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0
        self.missing = False
        self.immortal = False
        self.tally = Tally()
        self.data_s = 0.0
        """Not even SIGKILL ends a read of it."""
        self._script: list[Frame | CameraError | Killed | None] = []
        self._changed = threading.Condition()
        self._released = False
        self._killed = False

    def open(self) -> FakeCamera:
        self.opened += 1
        if self.missing:
            raise CameraError("it is not there")
        self._killed = False
        return self

    def launch(self) -> CameraThread:
        return CameraThread(self.open)

    def show(self, *values: int) -> None:
        self._add(*(frame(value, index) for index, value in enumerate(values)))

    @property
    def waiting(self) -> bool:
        """Whether something is left to give."""
        return bool(self._script)

    def fail(self, words: str = "it delivers nothing") -> None:
        self._add(CameraError(words))

    def end(self) -> None:
        self._add(None)

    def die(self) -> None:
        self._add(Killed())

    def kill(self) -> None:
        with self._changed:
            self._killed = True
            self._changed.notify_all()

    def read(self) -> Frame | None:
        """Hangs while there is nothing to give."""
        with self._changed:
            self._changed.wait_for(lambda: self._script or self._released or self._killed)
            if self._killed:
                raise Killed
            if self._released:
                return None
            what = self._script.pop(0)
        if isinstance(what, Exception):
            raise what
        return what

    def interrupt(self) -> None:
        """As with a driver that hangs: no effect."""

    def close(self) -> None:
        self.closed += 1

    def release(self) -> None:
        """Let every read return, so that no thread outlives its test."""
        with self._changed:
            self._released = True
            self._changed.notify_all()

    def _add(self, *what: Frame | CameraError | Killed | None) -> None:
        with self._changed:
            self._script += what
            self._changed.notify_all()


class BlinkingCamera:
    """Each frame differs from the one before, twenty a second."""

    data_s = 0.0

    def __init__(self) -> None:
        self.tally = Tally()
        self._index = 0
        self._ended = threading.Event()

    def read(self) -> Frame | None:
        self._ended.wait(0.05)
        self._index += 1
        return frame(self._index * 20 % 256, self._index)

    def interrupt(self) -> None:
        self._ended.set()

    def close(self) -> None:
        pass


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def camera() -> Iterator[FakeCamera]:
    camera = FakeCamera()
    yield camera
    camera.release()


@pytest.fixture
def new_camera() -> Iterator[Callable[[], FakeCamera]]:
    cameras: list[FakeCamera] = []

    def make() -> FakeCamera:
        cameras.append(FakeCamera())
        return cameras[-1]

    yield make
    for camera in cameras:
        camera.release()


@pytest.fixture
def new_frame() -> NewFrame:
    return frame


@pytest.fixture
def bundle() -> Bundle:
    return toy_bundle()


@pytest.fixture
def wait_until() -> WaitUntil:
    return until

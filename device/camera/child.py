"""A camera's process: `python -m aiflow.device.camera.child CONNECTION MEMORY PARENT`.

    listening thread <── Order, slots, the end ── daemon
    main thread: camera ── picture ──> slot;  Shot ──> daemon
    witness: whether data come, and how many frames were bad;  Alive ──> daemon

Nothing is imported here that reading a camera does not need. The process never outlives the daemon:
it ends with their connection, and should a driver hold it, the kernel kills it with the thread that
has started it.
"""

from __future__ import annotations

import ctypes
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from types import TracebackType
from typing import Final

import numpy as np

from aiflow.common.errors import AiflowError
from aiflow.device.camera import Camera, open_camera
from aiflow.device.camera.base import DATA_S, Image
from aiflow.device.camera.exchange import (
    MAX_BYTES,
    Alive,
    Ended,
    Failed,
    Message,
    Opened,
    Order,
    Shot,
    pack,
)
from aiflow.device.camera.received import received_bytes
from aiflow.device.camera.ring import SLOTS, Ring

CHECKED_ROWS: Final = 8
"""One row in so many goes into the checksum: a frozen picture is the same in all of them."""
LOOK_S: Final = 0.25
"""How often the witness looks."""
_PR_SET_PDEATHSIG: Final = 1

OpensCamera = Callable[[str, float, int | None, int | None, float], Camera]


def main(opens: OpensCamera = open_camera) -> None:
    """Serve the daemon that has started this process."""
    _let_no_url_through()
    connection, memory, parent = map(int, sys.argv[1:])
    # Their ends are the daemon's affair, which then ends the connection.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended before that
        return
    with socket.socket(fileno=connection) as daemon:
        serve(daemon, Ring(memory, writable=True), opens)


def serve(daemon: socket.socket, ring: Ring, opens: OpensCamera) -> None:
    """Open what the daemon orders and give it the frames, until either comes to an end."""
    order = Order.unpack(daemon.recv(MAX_BYTES))
    listener, witness = _Listener(daemon), _Witness(daemon)
    listener.start()
    witness.start()
    try:
        with suppress(ConnectionError):  # when the daemon does not want any more
            _open_and_show(daemon, ring, opens, order, listener, witness)
    finally:
        daemon.shutdown(socket.SHUT_RDWR)
        listener.join()
        witness.end()


def _open_and_show(
    daemon: socket.socket,
    ring: Ring,
    opens: OpensCamera,
    order: Order,
    listener: _Listener,
    witness: _Witness,
) -> None:
    """Raises ConnectionError when nobody hears any more."""
    try:
        with closing(
            opens(order.uri, order.fps, order.width, order.height, order.stall_s)
        ) as camera:
            listener.interrupts(camera)
            witness.watch(camera)
            _say(daemon, Opened())
            try:
                _show(daemon, ring, camera, listener, checksums=order.checksums)
            except AiflowError as error:
                witness.last_word()
                _say(daemon, Failed(str(error)))  # at once: a camera that fails may close slowly
            else:
                witness.last_word()
                _say(daemon, Ended())
    except AiflowError as error:
        _say(daemon, Failed(str(error)))
    except Exception as error:
        if type(error).__module__ != "cv2":
            raise
        code = getattr(error, "code", "unknown")  # its text may hold the URL
        _say(daemon, Failed(f"OpenCV gives up on it (error {code})"))


def _show(
    daemon: socket.socket, ring: Ring, camera: Camera, listener: _Listener, *, checksums: bool
) -> None:
    """Until the camera's end, or the daemon's."""
    while True:
        slot = listener.slots.get()
        if listener.ended:
            return
        frame = camera.read()
        if frame is None or listener.ended:
            return
        height, width = frame.image.shape[:2]
        picture = ring.picture(slot, height, width)
        np.copyto(picture, frame.image)
        checksum = _checksum(picture) if checksums else 0
        _say(daemon, Shot(slot, height, width, frame.captured_at, frame.index, checksum))


def _checksum(picture: Image) -> int:
    return zlib.crc32(np.ascontiguousarray(picture[::CHECKED_ROWS]).data)


def _say(daemon: socket.socket, message: Message) -> None:
    """Raises ConnectionError when nobody hears."""
    daemon.sendall(pack(message))


class _Listener(threading.Thread):
    """Hears which slots may be written, and when it is time to end."""

    def __init__(self, daemon: socket.socket) -> None:
        super().__init__(name="listener", daemon=True)
        self.slots: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(SLOTS):
            self.slots.put(slot)
        self.ended = False
        self._daemon = daemon
        self._camera: Camera | None = None

    def interrupts(self, camera: Camera) -> None:
        """From now on the end interrupts this camera."""
        self._camera = camera
        if self.ended:
            camera.interrupt()

    def run(self) -> None:
        with suppress(ConnectionError):
            while packet := self._daemon.recv(1):
                self.slots.put(packet[0])
        self.ended = True
        self.slots.put(0)  # wakes who waits for one
        if self._camera is not None:
            self._camera.interrupt()


class _Witness(threading.Thread):
    """Tells the daemon that the camera is not silent, while the main thread waits for a picture."""

    def __init__(self, daemon: socket.socket) -> None:
        super().__init__(name="witness", daemon=True)
        self._daemon = daemon
        self._camera: Camera | None = None
        self._began = time.monotonic()
        self._received = self._bad = 0
        self._ended = threading.Event()

    def watch(self, camera: Camera) -> None:
        """The camera is open."""
        self._camera = camera

    def last_word(self) -> None:
        """Tell of bad frames that have not been told yet; on the main thread."""
        if self._camera is not None and self._camera.tally.bad > self._bad:
            _say(self._daemon, Alive(self._camera.tally.bad))

    def end(self) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        with suppress(OSError):  # the daemon has ended the connection
            while not self._ended.wait(LOOK_S):
                if self._alive():
                    _say(self._daemon, Alive(self._bad))

    def _alive(self) -> bool:
        before, self._received = self._received, received_bytes()
        grown, now, camera = self._received > before, time.monotonic(), self._camera
        if camera is None:
            return grown and now - self._began < DATA_S
        tally, bad = camera.tally, self._bad
        self._bad = tally.bad
        if tally.bad > bad or now + LOOK_S < tally.quiet_until:
            return True
        if tally.good_at is None:
            return grown and now - self._began < DATA_S
        return grown and LOOK_S < now - tally.good_at < camera.data_s


def _let_no_url_through() -> None:
    """What libraries write to stderr is dropped, and of an error of ours its text.

    FFmpeg prints URLs, and so do many exceptions.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)

    def tell(kind: type[BaseException], _: BaseException, frames: TracebackType | None) -> None:
        lines = traceback.format_tb(frames)
        sys.stderr.write(f"Traceback (most recent call last):\n{''.join(lines)}{kind.__name__}\n")

    sys.excepthook = tell
    threading.excepthook = lambda args: tell(
        args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback
    )


if __name__ == "__main__":
    main()

"""A camera's process: `python -m aiflow.device.camera.child CONNECTION MEMORY PARENT`.

    listening thread <── Order, slots, the end ── daemon
    main thread: camera ── picture ──> slot;  Shot ──> daemon

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
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import numpy as np

from aiflow.common.errors import AiflowError
from aiflow.device.camera import Camera, open_camera
from aiflow.device.camera.base import Image
from aiflow.device.camera.exchange import (
    MAX_BYTES,
    Ended,
    Failed,
    Message,
    Opened,
    Order,
    Shot,
    pack,
)
from aiflow.device.camera.ring import SLOTS, Ring

CHECKED_ROWS: Final = 8
"""One row in so many goes into the checksum: a frozen picture is the same in all of them."""
_PR_SET_PDEATHSIG: Final = 1

OpensCamera = Callable[[str, float, int | None, int | None], Camera]


def main(opens: OpensCamera = open_camera) -> None:
    """Serve the daemon that has started this process."""
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
    listener = _Listener(daemon)
    listener.start()
    try:
        with suppress(ConnectionError):  # when the daemon does not want any more
            _open_and_show(daemon, ring, opens, order, listener)
    finally:
        daemon.shutdown(socket.SHUT_RDWR)
        listener.join()


def _open_and_show(
    daemon: socket.socket, ring: Ring, opens: OpensCamera, order: Order, listener: _Listener
) -> None:
    """Raises ConnectionError when nobody hears any more."""
    try:
        with closing(opens(order.uri, order.fps, order.width, order.height)) as camera:
            listener.interrupts(camera)
            _say(daemon, Opened())
            try:
                _show(daemon, ring, camera, listener, checksums=order.checksums)
            except AiflowError as error:
                _say(daemon, Failed(str(error)))  # at once: a camera that fails may close slowly
            else:
                _say(daemon, Ended())
    except AiflowError as error:
        _say(daemon, Failed(str(error)))


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


if __name__ == "__main__":
    main()

"""The daemon's end of what it shares with a camera's process: the connection, and the pictures."""

from __future__ import annotations

import contextlib
import os
import socket
from functools import partial

from aiflow.device.camera.base import Frame
from aiflow.device.camera.exchange import MAX_BYTES, Message, Order, Shot, unpack
from aiflow.device.camera.ring import Ring, shared_memory


class Feed:
    """Used by one thread, but for the frames' release."""

    def __init__(self, order: Order) -> None:
        """Whoever serves it is given `theirs` and `memory`. Raises OSError."""
        self._connection, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.memory = shared_memory()
        try:
            self._ring = Ring(self.memory)
            self._connection.send(order.pack())
        except BaseException:
            self.given()
            raise

    def given(self) -> None:
        """The other side has its end: nothing but that keeps the connection up from now on."""
        self.theirs.close()
        os.close(self.memory)

    def fileno(self) -> int:
        """Readable when there is something to `hear`."""
        return self._connection.fileno()

    def hear(self) -> Message | None:
        """The next message; None when the other side has ended.

        Raises CameraError for what makes no sense.
        """
        try:
            packet = self._connection.recv(MAX_BYTES)
        except ConnectionError:
            return None
        return unpack(packet) if packet else None

    def frame(self, shot: Shot) -> Frame:
        """The picture where it lies. Raises CameraError for one that cannot be there."""
        picture = self._ring.picture(shot.slot, shot.height, shot.width)
        return Frame(picture, shot.captured_at, shot.index, partial(self._release, shot.slot))

    def hang_up(self) -> None:
        """Tell the other side that it is to end; nothing can be heard any more."""
        with contextlib.suppress(OSError):  # it has ended before
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """When the other side has ended; pictures that are still looked at stay there."""
        self._connection.close()

    def _release(self, slot: int) -> None:
        with contextlib.suppress(OSError):  # it may have ended
            self._connection.send(bytes([slot]), socket.MSG_DONTWAIT)

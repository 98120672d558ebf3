"""A camera's process whose driver is strange: `python strange.py WAY CONNECTION MEMORY PARENT`.

The process is the real one in all else. A driver that hangs here keeps the whole interpreter, as
one in C may, and no signal but SIGKILL ends it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import numpy as np

from aiflow.common.errors import CameraError
from aiflow.device.camera import Frame, child
from aiflow.device.camera.base import Tally

WAY = sys.argv.pop(1)


def hang() -> None:
    """For ever, and without letting go of the interpreter."""
    while True:
        ctypes.PyDLL(None).pause()


class Strange:
    def __init__(self) -> None:
        self._index = -1
        self.tally = Tally()
        self.data_s = 0.0

    def read(self) -> Frame | None:
        self._index += 1
        time.sleep(0.01)
        if self._index == 3:
            self._fail()
        height = 32 + self._index * (WAY == "grows")
        value = 7 if WAY == "freezes" else self._index % 256
        return Frame(np.full((height, 48, 3), value, np.uint8), time.time(), self._index)

    def _fail(self) -> None:
        if WAY == "hangs":
            hang()
        elif WAY == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif WAY == "errs":
            raise ZeroDivisionError
        elif WAY == "babbles":
            os.write(int(sys.argv[1]), b"\x80 no message")
        elif WAY == "swells":
            self.read = lambda: Frame(  # type: ignore[method-assign]
                np.broadcast_to(np.uint8(0), (5000, 5000, 3)), time.time(), self._index
            )

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


def opens(*_: object) -> Strange:
    if WAY == "hangs in open":
        hang()
    if WAY == "sleeps in open":
        time.sleep(3600)
    if WAY == "fails late in open":
        time.sleep(0.5)
        raise CameraError("it is not there")
    return Strange()


if __name__ == "__main__":
    child.main(opens)

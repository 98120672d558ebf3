"""A camera's process, as the daemon sees it: started, heard, and ended whatever holds it.

Each camera has a process of its own, so that a driver that hangs or crashes takes down that process
and nothing else (decision 10). It is started afresh and not forked: the daemon has threads.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from aiflow.common.errors import CameraError
from aiflow.device.camera.exchange import Order
from aiflow.device.camera.feed import Feed

# -P: nothing in the daemon's folder is mistaken for a module.
PROGRAM: Final = (sys.executable, "-P", "-m", "aiflow.device.camera.child")
KILL_S: Final = 0.25
"""How long the kernel may take to end a process; a driver can keep it from that."""


class CameraProcess(Feed):
    """One process, from its start to its end. It dies with the thread that has made it."""

    def __init__(self, order: Order, program: Sequence[str] = PROGRAM) -> None:
        """Start it and let it open the camera. Raises CameraError."""
        try:
            super().__init__(order)
            try:
                self._process = _started(program, self.theirs.fileno(), self.memory)
            finally:
                self.given()
            self._ended = os.pidfd_open(self._process.pid)
        except OSError as error:
            raise CameraError(f"its process cannot be started: {error.strerror}") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self, grace_s: float) -> bool:
        """Ask it to end, and kill it if it has not after `grace_s`; may be called again.

        False while the kernel does not let it end.
        """
        if self._process.returncode is None:
            self.hang_up()
            if not self._ends(grace_s):
                self._process.kill()
                if not self._ends(KILL_S):
                    return False
            self._process.wait()
            os.close(self._ended)
            self.close()
        return True

    @property
    def fate(self) -> str:
        """After `end`: how it ended, in words."""
        status = self._process.returncode
        if status is None:
            return "its process cannot be ended, as its driver holds it"
        if status < 0:
            return f"its process was ended by {signal.Signals(-status).name}"
        return f"its process ended with status {status}"

    def _ends(self, within_s: float) -> bool:
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        return bool(poll.poll(within_s * 1000))


def _started(program: Sequence[str], connection: int, memory: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*program, str(connection), str(memory), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(connection, memory),
        start_new_session=True,  # Ctrl-C in a terminal is for the daemon alone
        env=_environment(os.environ),
    )


def _environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """Without the daemon's settings, among which may be the broker's password."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("AIFLOW_")}
    return kept | {"OPENBLAS_NUM_THREADS": "1"}  # nothing is multiplied there

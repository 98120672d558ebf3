"""A private Mosquitto for the demo, for benchmarks and for tests. Not a broker to keep."""

from __future__ import annotations

import shutil
import socket
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from aiflow.common.errors import BrokerError, BrokerUnreachable
from aiflow.rig.child import Child

HOST: Final = "127.0.0.1"
START_S: Final = 30.0
_PORT_TRIES: Final = 5
_POLL_S: Final = 0.01
# Not on an ordinary user's PATH, though that is where packages put it.
_SYSTEM_FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")

# Loopback only, nothing written to disk, every queue bounded; without tcp_nodelay small packets
# wait for the acknowledgement of the one before.
_CONFIGURATION: Final = """\
listener {port} {host}
allow_anonymous {anonymous}
persistence false
max_queued_messages 1000
max_queued_bytes 16777216
log_dest stderr
log_type error
log_type warning
log_type notice
set_tcp_nodelay true
{options}
"""


class PrivateBroker:
    """Mosquitto on a free loopback port, in a temporary folder of its own; use it with `with`.

    `stop`, `kill` and `start` again model a broker that goes away and comes back: the port stays,
    and what it held in memory is lost.
    """

    def __init__(self, port: int = 0) -> None:
        """Choose `port`, or let it be a free one (0). Raises BrokerError without Mosquitto."""
        self.host = HOST
        self.port = port
        self._program = find_mosquitto()
        self._folder: Path | None = None
        self._child: Child | None = None
        self._resources = ExitStack()

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    @property
    def child(self) -> Child:
        """Its process. Raises BrokerError before the first start."""
        if self._child is None:
            raise BrokerError("the private broker has not been started")
        return self._child

    def start(self, timeout_s: float = START_S) -> None:
        """Return when it accepts connections. Raises BrokerError, BrokerUnreachable."""
        if self._folder is None:
            self._folder = Path(
                self._resources.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-broker-"))
            )
        if self._child is not None:
            _launch(self._child, self.port, timeout_s)
            return
        tries = 1 if self.port else _PORT_TRIES
        for left in reversed(range(tries)):
            # Between choosing a free port and Mosquitto taking it, another may have taken it.
            port = self.port or _free_port()
            child = self._configure(self._folder, port)
            try:
                _launch(child, port, timeout_s)
            except BrokerError:
                child.stop()
                if left == 0:
                    raise
            else:
                self.port, self._child = port, child
                return

    def configure(self, options: str = "", *, anonymous: bool = True) -> None:
        """For the next start; `options` are lines of mosquitto.conf. BrokerError before the first.

        `anonymous`: whether clients without a name are welcome.
        """
        _write(self.child.log_path.parent, self.port, options, anonymous=anonymous)

    def stop(self) -> None:
        """End it in good order; its port and folder are kept for the next `start`."""
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """End it and remove its folder."""
        self.stop()
        self._resources.close()
        self._folder = None
        self._child = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _configure(self, folder: Path, port: int) -> Child:
        command = [self._program, "-c", str(_write(folder, port))]
        return Child("mosquitto", command, folder / "mosquitto.log")


def _write(folder: Path, port: int, options: str = "", *, anonymous: bool = True) -> Path:
    path = folder / "mosquitto.conf"
    allowed = str(anonymous).lower()
    text = _CONFIGURATION.format(host=HOST, port=port, anonymous=allowed, options=options)
    path.write_text(text)
    return path


def _launch(child: Child, port: int, timeout_s: float) -> None:
    if _accepts(port):
        raise BrokerError(f"port {port} of {HOST} is in use by another program")
    child.start()
    deadline = time.monotonic() + timeout_s
    while not _accepts(port):
        if not child.running:
            words = "; ".join(child.last_lines(2)) or "it wrote no log"
            raise BrokerError(f"mosquitto ended at once: {words}")
        if time.monotonic() > deadline:
            raise BrokerUnreachable(f"mosquitto did not answer within {timeout_s:g} s")
        time.sleep(_POLL_S)


def find_mosquitto() -> str:
    """Path of the program; BrokerError that says how to install it when there is none."""
    program = shutil.which("mosquitto") or shutil.which("mosquitto", path=":".join(_SYSTEM_FOLDERS))
    if program is None:
        raise BrokerError(
            "mosquitto is not installed; install it with `sudo apt install mosquitto`"
            " (macOS: `brew install mosquitto`), or use a broker of yours with --broker"
        )
    return program


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True

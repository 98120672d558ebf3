"""What a daemon tells the service manager that started it: ready, alive, stopping.

Datagrams of `KEY=value` lines to the socket that $NOTIFY_SOCKET names, as sd_notify(3) of systemd
describes them. Without that variable nothing is said, and nobody waits for it.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import Final, Self

log = logging.getLogger(__name__)

SEND_TIMEOUT_S: Final = 1.0
"""A service manager that does not read must not hold us up."""


class Notifier:
    """Speaks to the service manager; used by the main thread."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        """`address` is the path of a socket, or `@` and the name of an abstract one; None: mute.

        `watchdog_s` is the longest silence that the manager bears; None if it does not mind.
        """
        self._address = address
        self.watchdog_s = watchdog_s if address is not None else None
        self._failing = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """As the service manager has set it; what is meant for another process is left alone."""
        address = environ.get("NOTIFY_SOCKET", "")
        if address[:1] not in {"/", "@"}:
            if address:
                log.warning("NOTIFY_SOCKET is %r, neither a path nor abstract; not used", address)
            return cls(None)
        return cls(address, _watchdog_s(environ))

    @property
    def listened_to(self) -> bool:
        return self._address is not None

    def ready(self, status: str) -> None:
        """All is set up; `status` is a short line for people, here and below."""
        self._send("READY=1", status=status)

    def alive(self, status: str) -> None:
        """Every part has got on since the last call: the watchdog may wait for another period."""
        self._send("WATCHDOG=1", status=status)

    def status(self, status: str) -> None:
        self._send(status=status)

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", status=status)

    def _send(self, *states: str, status: str) -> None:
        if self._address is None:
            return
        name = f"\0{self._address[1:]}" if self._address[0] == "@" else self._address
        message = "\n".join([*states, f"STATUS={' '.join(status.split())}"])
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(SEND_TIMEOUT_S)
                sender.sendto(message.encode(), name)
        except OSError as error:
            if not self._failing:
                log.warning("the service manager cannot be told %s: %s", message, error)
            self._failing = True
        else:
            self._failing = False


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life; None if none are wanted, or from another process."""
    period_us = environ.get("WATCHDOG_USEC", "")
    if environ.get("WATCHDOG_PID") not in {None, "", str(os.getpid())}:
        return None
    if not period_us.isascii() or not period_us.isdigit() or int(period_us) == 0:
        return None
    return int(period_us) / 1e6

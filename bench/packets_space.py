"""A network namespace with one TUN device in it: a network of its own for whoever is put inside.

The namespace has no name and no file. It lives by an open file of this process and by the
processes in it, and so does its device; whatever ends them, be it SIGKILL, the kernel takes all of
it away. The machine's own network is not touched.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self, TypeVar

from aiflow.common.errors import AiflowError

MTU_BYTES: Final = 1500
DEVICE: Final = "air0"
_NETMASK: Final = "255.255.255.252"
_TUN: Final = Path("/dev/net/tun")

# <sched.h>, <linux/if_tun.h>, <linux/if.h>, <linux/sockios.h>
_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_IFF_TUN: Final = 0x0001
_IFF_NO_PI: Final = 0x1000
_IFF_UP: Final = 0x1
_SIOCSIFFLAGS: Final = 0x8914
_SIOCSIFADDR: Final = 0x8916
_SIOCSIFNETMASK: Final = 0x891C

T = TypeVar("T")


class Space:
    """A namespace whose device has `address`; `tun` reads and writes that device's IP packets."""

    def __init__(self, address: str) -> None:
        """Raises AiflowError where it is not possible, in a sentence that says why."""
        self.address = address
        self._resources = ExitStack()
        # A thread that is in the namespace for as long as it lives.
        self._inside = self._resources.enter_context(ThreadPoolExecutor(1, "space"))
        try:
            self._check()
            self._namespace, self.tun = self.call(self._furnish)
        except BaseException:
            self.close()
            raise

    def call(self, action: Callable[[], T]) -> T:
        """Do it inside. Sockets and threads that it makes stay inside."""
        return self._inside.submit(action).result()

    def wrap(self, command: Sequence[str]) -> list[str]:
        """The same command, run inside; it works while this space is open."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._namespace}", "--", *command]

    def close(self) -> None:
        """Leave it; processes that are still inside keep it, without a way out."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @staticmethod
    def _check() -> None:
        if not _TUN.exists():
            raise AiflowError(
                f"a packet-level link needs {_TUN}, which Linux has after `modprobe tun`"
            )
        if shutil.which("nsenter") is None:
            raise AiflowError("a packet-level link needs nsenter; install the package util-linux")

    def _furnish(self) -> tuple[int, int]:
        try:
            _leave_the_network()
            namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self._resources.callback(os.close, namespace)
            tun = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
            self._resources.callback(os.close, tun)
            fcntl.ioctl(tun, _TUNSETIFF, _request(DEVICE, "H", _IFF_TUN | _IFF_NO_PI))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                fcntl.ioctl(control, _SIOCSIFADDR, _with_address(self.address))
                fcntl.ioctl(control, _SIOCSIFNETMASK, _with_address(_NETMASK))
                for device in ("lo", DEVICE):
                    fcntl.ioctl(control, _SIOCSIFFLAGS, _request(device, "H", _IFF_UP))
        except PermissionError as error:
            raise AiflowError(
                "a packet-level link needs root, with the capabilities SYS_ADMIN and NET_ADMIN,"
                " which containers take away; run it with sudo"
            ) from error
        except OSError as error:
            raise AiflowError(
                f"a packet-level link is not possible here ({error.strerror}); it needs network"
                " namespaces and TUN devices"
            ) from error
        return namespace, tun


def why_not() -> str | None:
    """Why there cannot be a packet-level link here, in a sentence; None when there can."""
    try:
        Space("198.18.0.1").close()
    except AiflowError as error:
        return str(error)
    return None


def _leave_the_network() -> None:
    """Put the calling thread, and only it, into a new network namespace. Raises OSError."""
    # os.unshare came with Python 3.12.
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _request(device: str, form: str, *values: object) -> bytes:
    """struct ifreq."""
    return struct.pack(f"16s{form}", device.encode(), *values).ljust(40, b"\0")


def _with_address(address: str) -> bytes:
    return _request(DEVICE, "HH4s", socket.AF_INET, 0, socket.inet_aton(address))

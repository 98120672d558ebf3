"""How much this process has received over TCP, asked of the kernel.

FFmpeg gives a frame or nothing; whether bytes come meanwhile only the socket knows.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Final

_BYTES_RECEIVED: Final = 128
"""Where `tcpi_bytes_received` stands in a `struct tcp_info` (linux/tcp.h), 64 bits."""
_STREAMS: Final = (socket.AF_INET, socket.AF_INET6)


def received_bytes() -> int:
    """The sum over all TCP connections that are open now; it falls when one is closed."""
    return sum(_received(int(path.name)) for path in Path("/proc/self/fd").iterdir())


def _received(descriptor: int) -> int:
    """0 for what is no TCP connection, or is closed meanwhile."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return 0
    try:
        link = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return 0
    with link:
        if link.family not in _STREAMS or link.type != socket.SOCK_STREAM:
            return 0
        try:
            info = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            return 0
    if len(info) < _BYTES_RECEIVED + 8:  # a kernel before 4.1
        return 0
    return int(struct.unpack_from("=Q", info, _BYTES_RECEIVED)[0])

"""`aiflow bench link`: the emulated link held against its own arithmetic.

Messages of several sizes cross a link to a listener on the same clock. Computed is
`LinkSpec.transmission_s`; measured runs from the sending to the arrival of the last byte.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aiflow.bench.link import Link, LinkSpec

STUDY_LINKS: Final = ("2KB/s,200ms", "25KB/s,50ms", "125KB/s,50ms", "1.25MB/s,20ms")
MESSAGE_BYTES: Final = (40, 400, 4_000, 40_000)
LONGEST_S: Final = 2.5
"""A message that takes longer on a link is left out there: it would show nothing new."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Messages of one size over one link, one after another; median of `repeats`."""

    link: str
    size_bytes: int
    repeats: int
    computed_s: float
    measured_s: float
    worst_error_s: float


def run(
    *, seed: int, plot: Path | None, say: Callable[[str], None], scenes: int | None = None
) -> Mapping[str, object]:
    """Measure the four links of the case study."""
    del seed, plot, scenes  # nothing here is random, worth a picture, or about scenes
    crossings: list[Crossing] = []
    say("link            bytes  computed  measured  worst error")
    for text in STUDY_LINKS:
        for crossing in measure(LinkSpec.parse(text), MESSAGE_BYTES):
            crossings.append(crossing)
            say(
                f"{crossing.link:15} {crossing.size_bytes:6,} {crossing.computed_s * 1e3:6.1f} ms"
                f" {crossing.measured_s * 1e3:6.1f} ms    {crossing.worst_error_s * 1e3:6.2f} ms"
            )
    return {"crossings": [asdict(crossing) for crossing in crossings]}


def measure(spec: LinkSpec, sizes: Sequence[int], repeats: int = 3) -> Iterator[Crossing]:
    """Send each size `repeats` times, each on an idle link. Raises OSError, TimeoutError."""
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        Link("127.0.0.1", server.getsockname()[1], spec) as link,
        socket.create_connection(("127.0.0.1", link.port), timeout=10.0) as sender,
    ):
        server.settimeout(10.0)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receiver, _ = server.accept()
        with receiver:
            receiver.settimeout(10.0)
            for size in sizes:
                computed_s = spec.transmission_s(size)
                if computed_s > LONGEST_S:
                    continue
                took = [_cross(sender, receiver, size) for _ in range(repeats)]
                worst_s = max((abs(each - computed_s) for each in took), default=0.0)
                yield Crossing(
                    str(spec), size, repeats, computed_s, statistics.median(took), worst_s
                )


def _cross(sender: socket.socket, receiver: socket.socket, size: int) -> float:
    began = time.monotonic()
    writer = threading.Thread(target=sender.sendall, args=(bytes(size),))
    writer.start()
    left = size
    while left:
        chunk = receiver.recv(65_536)
        if not chunk:
            raise ConnectionError("the link closed the connection")
        left -= len(chunk)
    took_s = time.monotonic() - began
    writer.join()
    return took_s

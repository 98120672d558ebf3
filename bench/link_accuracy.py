"""`aiflow bench link`: the emulated links held against their own arithmetic.

Messages of several sizes cross a link to a listener on the same clock. Computed is
`LinkSpec.transmission_s`; measured runs from the sending to the arrival of the last byte. The
packet-level link is measured in `bench.packets_accuracy`, where it is possible.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from aiflow.bench import packets_accuracy
from aiflow.bench.crossing import HEADING, Crossing
from aiflow.bench.link import Link, LinkSpec
from aiflow.bench.packets_space import why_not

STUDY_LINKS: Final = ("2KB/s,200ms", "25KB/s,50ms", "125KB/s,50ms", "1.25MB/s,20ms")
MESSAGE_BYTES: Final = (40, 400, 4_000, 40_000)
LONGEST_S: Final = 2.5
"""A message that takes longer on a link is left out there: it would show nothing new."""


def run(
    *, seed: int, plot: Path | None, say: Callable[[str], None], scenes: int | None = None
) -> Mapping[str, object]:
    """Measure both kinds of link as the case study's four; `seed` is that of lost packets."""
    del plot, scenes  # nothing here is worth a picture, or about scenes
    specs = [LinkSpec.parse(text) for text in STUDY_LINKS]
    crossings: list[Crossing] = []
    say("relay of TCP")
    say(HEADING)
    for spec in specs:
        for crossing in measure(spec, MESSAGE_BYTES):
            crossings.append(crossing)
            crossing.tell(say)
    say("")
    obstacle = why_not()
    if obstacle is not None:
        say(f"packet-level link: left out; {obstacle}")
    return {
        "crossings": [asdict(crossing) for crossing in crossings],
        "packets": (
            packets_accuracy.run(specs, longest_s=LONGEST_S, seed=seed, say=say)
            if obstacle is None
            else {"left_out": obstacle}
        ),
    }


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
                yield Crossing.of(str(spec), size, computed_s, took)


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

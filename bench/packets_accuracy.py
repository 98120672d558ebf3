"""The packet-level link held against what was asked of it: times, loss, and what TCP makes of it.

Times and loss are measured with UDP, a datagram a packet, since TCP would send at times of its own
choice. A message larger than a datagram goes as a train of them.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from aiflow.bench import packets_frame
from aiflow.bench.crossing import HEADING, Crossing
from aiflow.bench.link import LinkSpec
from aiflow.bench.packets import FAR, NEAR, PacketLink
from aiflow.bench.packets_space import MTU_BYTES

MESSAGE_BYTES: Final = (40, 400, 4_000, 12_000)
"""The largest fits into the queue of every link."""
PING_BYTES: Final = 56
HEADER_BYTES: Final = 28
"""IPv4's and UDP's."""
LOSSES: Final = ((0.01, None), (0.05, None), (0.05, 4.0))
LOSS_PACKETS: Final = 4_000
FLOW_LINK: Final = LinkSpec(1_250_000, 0.02)
FLOW_LOSSES: Final = (0.0, 0.01, 0.05)
FLOW_S: Final = 4.0
_ANSWER_S: Final = 10.0
_ROUND: Final = 50
"""Datagrams before their receiver has its turn: no buffer on the way overflows."""
_LOST_S: Final = 0.1
"""Silence after which the end of a round is taken for lost and sent again."""
_STANDARD_ERRORS: Final = 3.29
"""99.9% of what chance does lies within."""


@dataclass(frozen=True, slots=True)
class LossSeen:
    """Loss asked for and seen in one direction; `low` to `high` is what chance allows (99.9%)."""

    asked: float
    burst_packets: float | None
    packets: int
    seen: float
    mean_burst: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Flow:
    """One TCP flow, as fast as it goes; `share` is goodput over the line's rate."""

    link: str
    congestion_control: str
    seconds: float
    goodput_bytes_s: float
    share: float
    packets: int
    lost: int
    queue_drops: int


def run(
    specs: Sequence[LinkSpec], *, longest_s: float, seed: int, say: Callable[[str], None]
) -> Mapping[str, object]:
    """Measure and print everything. Raises AiflowError where there can be no such link."""
    times: list[Crossing] = []
    round_trips: list[Crossing] = []
    say("packet-level link, one way; computed with 28 bytes of IP and UDP headers a packet")
    say(HEADING)
    for spec in specs:
        with PacketLink("127.0.0.1", 0, spec) as link:
            for crossing in crossings(link, MESSAGE_BYTES, longest_s):
                times.append(crossing)
                crossing.tell(say)
            round_trips.append(round_trip(link))
    say("packet-level link, there and back")
    for crossing in round_trips:
        crossing.tell(say)
    say("loss   asked    seen  by chance between  mean burst")
    losses = []
    for share, burst_packets in LOSSES:
        found = loss_seen(LinkSpec(None, 0.0, share, burst_packets), LOSS_PACKETS, seed)
        losses.append(found)
        say(
            f"      {found.asked:6.1%}  {found.seen:6.2%}   {found.low:6.2%} - {found.high:6.2%}"
            f"     {found.mean_burst:.2f} packets"
        )
    say("one TCP flow, as the kernel of this machine does it (for information)")
    flows = []
    for share in FLOW_LOSSES:
        went = flow(replace(FLOW_LINK, loss=share), FLOW_S, seed)
        flows.append(went)
        say(
            f"{went.link:17} {went.congestion_control} {went.goodput_bytes_s / 1e3:7.1f} KB/s,"
            f" {went.share:.0%} of the line; {went.packets:,} packets went, {went.lost} of them"
            f" lost; {went.queue_drops} found the queue full"
        )
    return {
        "crossings": [asdict(each) for each in times],
        "round_trips": [asdict(each) for each in round_trips],
        "losses": [asdict(each) for each in losses],
        "flows": [asdict(each) for each in flows],
        "frame": packets_frame.run(say),
    }


def on_air_bytes(size_bytes: int) -> int:
    """Of a message of so many bytes, in UDP datagrams as large as the link takes."""
    return size_bytes + HEADER_BYTES * math.ceil(size_bytes / (MTU_BYTES - HEADER_BYTES))


def crossings(
    link: PacketLink, sizes: Sequence[int], longest_s: float, repeats: int = 3
) -> Iterator[Crossing]:
    """Send each size `repeats` times, each on an idle link. Raises TimeoutError."""
    with ends(link) as (sender, receiver):
        for size in sizes:
            computed_s = link.spec.transmission_s(on_air_bytes(size))
            if computed_s <= longest_s:
                took = [_cross(sender, receiver, size) for _ in range(repeats)]
                yield Crossing.of(str(link.spec), size, computed_s, took)


def round_trip(link: PacketLink, repeats: int = 10) -> Crossing:
    """A datagram that is sent back. Raises TimeoutError."""
    with ends(link) as (near, far):
        took = []
        for _ in range(repeats):
            began = time.monotonic()
            near.send(bytes(PING_BYTES))
            far.send(far.recv(MTU_BYTES))
            near.recv(MTU_BYTES)
            took.append(time.monotonic() - began)
    computed_s = 2 * link.spec.transmission_s(on_air_bytes(PING_BYTES))
    return Crossing.of(str(link.spec), PING_BYTES, computed_s, took)


def loss_seen(spec: LinkSpec, packets: int, seed: int) -> LossSeen:
    """Count what of `packets` datagrams arrives; the link should be fast. Raises TimeoutError."""
    came: set[int] = set()
    with PacketLink("127.0.0.1", 0, spec, seed) as link, ends(link) as (sender, receiver):
        receiver.settimeout(_LOST_S)
        for first in range(0, packets, _ROUND):
            last = min(first + _ROUND, packets)
            for number in range(first, last):
                sender.send(number.to_bytes(4, "big"))
            came |= _until_end(sender, receiver, last)
    gaps = [number for number in range(packets) if number not in came]
    bursts = sum(number - 1 in came or number == 0 for number in gaps)
    # The standard error of independent packets, times what a chain of two states makes of it.
    burst = (spec.burst_packets or 1 / (1 - spec.loss)) * (1 - spec.loss)
    error = math.sqrt(spec.loss * (1 - spec.loss) / packets * (2 * burst - 1))
    return LossSeen(
        asked=spec.loss,
        burst_packets=spec.burst_packets,
        packets=packets,
        seen=len(gaps) / packets,
        mean_burst=len(gaps) / bursts if bursts else 0.0,
        low=max(0.0, spec.loss - _STANDARD_ERRORS * error),
        high=spec.loss + _STANDARD_ERRORS * error,
    )


def flow(spec: LinkSpec, seconds: float, seed: int) -> Flow:
    """A TCP flow from the near end through the gateway. Raises OSError, TimeoutError."""
    with (
        contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server,
        PacketLink("127.0.0.1", server.getsockname()[1], spec, seed) as link,
        link.near.call(
            lambda: socket.create_connection((link.host, link.port), timeout=_ANSWER_S)
        ) as sender,
    ):
        server.settimeout(_ANSWER_S)
        receiver, _ = server.accept()
        with receiver:
            receiver.settimeout(_ANSWER_S)
            control = sender.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
            writer = threading.Thread(target=_pour, args=(sender,))
            writer.start()
            try:
                receiver.recv(65_536)
                began = time.monotonic()
                count, took_s = 0, 0.0
                while took_s < seconds:
                    count += len(receiver.recv(65_536))
                    took_s = time.monotonic() - began
            finally:
                sender.shutdown(socket.SHUT_RDWR)
                writer.join()
            lane = link.up
            return Flow(
                link=str(spec),
                congestion_control=control.rstrip(b"\0").decode(),
                seconds=took_s,
                goodput_bytes_s=count / took_s,
                share=count / took_s / spec.rate_bytes_s if spec.rate_bytes_s else 0.0,
                packets=lane.packets,
                lost=lane.lost,
                queue_drops=lane.queue_drops,
            )


@contextlib.contextmanager
def ends(link: PacketLink) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two UDP sockets, one at each end, connected to each other."""
    with (
        link.near.call(_datagrams) as near,
        link.far.call(_datagrams) as far,
    ):
        near.bind((NEAR, 0))
        far.bind((FAR, 0))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        yield near, far


def _datagrams() -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.settimeout(_ANSWER_S)
    return end


def _cross(sender: socket.socket, receiver: socket.socket, size: int) -> float:
    each = MTU_BYTES - HEADER_BYTES
    began = time.monotonic()
    for first in range(0, size, each):
        sender.send(bytes(min(each, size - first)))
    left = size
    while left:
        left -= len(receiver.recv(MTU_BYTES))
    return time.monotonic() - began


def _until_end(sender: socket.socket, receiver: socket.socket, last: int) -> set[int]:
    """The numbers that come before an end does; it is sent again while it is lost."""
    end = last.to_bytes(4, "big") + b"end"
    came: set[int] = set()
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        sender.send(end)
        with contextlib.suppress(TimeoutError):
            while (heard := receiver.recv(MTU_BYTES)) != end:
                if len(heard) == 4:
                    came.add(int.from_bytes(heard, "big"))
            return came
    raise TimeoutError("nothing comes through the packet-level link")


def _pour(sender: socket.socket) -> None:
    """Until the connection is shut down."""
    with contextlib.suppress(OSError):
        while True:
            sender.sendall(bytes(65_536))

"""One direction of a packet-level link, by arithmetic alone: when a packet arrives, or why not.

    offered -> queue (bounded, drop-tail) -> line (rate) -> air (loss, half a round trip) -> arrived

As in `bench.relay.Lane`, each time is computed from the packet before. A packet that is lost in
the air has had its time on the line; one that finds the queue full has not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Self

from aiflow.bench.link import LinkSpec

QUEUE_BYTES: Final = 16_384
"""The least that may wait for the line: the ten packets with which TCP begins fit in."""
UNLIMITED_QUEUE_BYTES: Final = 4_194_304


class Loss:
    """Says of each packet in turn whether it is lost; the same seed says the same.

    A two-state Markov chain that loses everything in its bad state and nothing in its good one
    (Gilbert, Capacity of a Burst-Noise Channel, 1960, with error probability 1 when bad). `share`
    of the packets are lost, in bursts of `burst_packets` on average; None: independently.
    """

    def __init__(self, share: float, burst_packets: float | None, seed: str) -> None:
        # With bursts of 1 / (1 - share) both states lead to the bad one equally often.
        burst_packets = burst_packets or 1 / (1 - share)
        self._begins = share / (1 - share) / burst_packets
        self._ends = 1 / burst_packets
        self._chance = random.Random(seed)
        self._bad = False

    def strikes(self) -> bool:
        drawn = self._chance.random()
        self._bad = drawn >= self._ends if self._bad else drawn < self._begins
        return self._bad


@dataclass(slots=True)
class PacketLane:
    """One direction. Bytes are those of whole IP packets; times are seconds of any one clock."""

    rate_bytes_s: float | None
    delay_s: float
    queue_bytes: float
    loss: Loss
    packets: int = 0
    """Packets and bytes that went over the line, those that were lost after it included."""
    total_bytes: int = 0
    lost: int = 0
    queue_drops: int = 0
    cut_off: int = 0
    """Packets that came, or were under way, while the link was cut."""
    held_bytes: int = 0
    """Of packets that wait or are in the air."""
    _free_at: float = 0.0

    @classmethod
    def of(cls, spec: LinkSpec, seed: str) -> Self:
        """A queue of one round trip, as routers are given, but not below `QUEUE_BYTES`."""
        rate = spec.rate_bytes_s
        queue = UNLIMITED_QUEUE_BYTES if rate is None else max(QUEUE_BYTES, rate * spec.rtt_s)
        return cls(rate, spec.rtt_s / 2, queue, Loss(spec.loss, spec.burst_packets, seed))

    def arrival(self, size_bytes: int, now: float) -> float | None:
        """When a packet offered `now` arrives; None if it does not. Takes its place on the line."""
        rate = self.rate_bytes_s
        # A line without a rate lets nothing wait; what is in the air there has to be bounded.
        waiting = max(0.0, self._free_at - now) * rate if rate else self.held_bytes
        if waiting + size_bytes > self.queue_bytes:
            self.queue_drops += 1
            return None
        self.packets += 1
        self.total_bytes += size_bytes
        self._free_at = max(now, self._free_at) + (size_bytes / rate if rate else 0.0)
        if self.loss.strikes():
            self.lost += 1
            return None
        self.held_bytes += size_bytes
        return self._free_at + self.delay_s

    def cut(self, under_way: int) -> None:
        """So many packets, all that wait or are in the air, are lost at once."""
        self.cut_off += under_way
        self.held_bytes = 0
        self._free_at = 0.0

from __future__ import annotations

from itertools import pairwise

import pytest

from aiflow.bench.link import LinkSpec
from aiflow.bench.packets_lane import QUEUE_BYTES, UNLIMITED_QUEUE_BYTES, Loss, PacketLane


def lane(text: str, seed: str = "") -> PacketLane:
    return PacketLane.of(LinkSpec.parse(text), seed)


def lost(share: float, burst_packets: float | None, count: int, seed: str = "a") -> list[bool]:
    loss = Loss(share, burst_packets, seed)
    return [loss.strikes() for _ in range(count)]


def bursts(struck: list[bool]) -> int:
    return sum(
        now and not before for before, now in zip([False, *struck], [*struck, False], strict=True)
    )


def test_packets_follow_each_other_on_the_line_and_arrive_half_a_round_trip_later() -> None:
    line = lane("10KB/s,200ms")
    assert line.arrival(1000, now=5.0) == pytest.approx(5.2)
    assert line.arrival(500, now=5.0) == pytest.approx(5.25)
    assert line.arrival(1000, now=9.0) == pytest.approx(9.2), "the line was idle in between"
    assert (line.packets, line.total_bytes, line.held_bytes) == (3, 2500, 2500)


def test_what_finds_the_queue_full_is_dropped_and_takes_no_time() -> None:
    line = lane("10KB/s,0ms")
    arrivals = [line.arrival(1000, now=0.0) for _ in range(20)]
    assert arrivals[:16] == pytest.approx([0.1 * number for number in range(1, 17)])
    assert arrivals[16:] == [None] * 4
    assert (line.packets, line.queue_drops, line.lost) == (16, 4, 0)
    # 100 ms later one packet has left, and one has room.
    assert line.arrival(1000, now=0.1) == pytest.approx(1.7)
    assert line.arrival(1000, now=0.1) is None


@pytest.mark.parametrize(
    "text, queue_bytes",
    [
        ("2KB/s,200ms", QUEUE_BYTES),
        ("1.25MB/s,200ms", 250_000),
        ("unlimited,1s", UNLIMITED_QUEUE_BYTES),
    ],
)
def test_the_queue_is_a_round_trip_long_and_never_too_short(text: str, queue_bytes: float) -> None:
    assert lane(text).queue_bytes == queue_bytes


def test_without_a_rate_nothing_waits_and_what_is_in_the_air_is_bounded() -> None:
    line = lane("unlimited,100ms")
    arrivals = [line.arrival(2**20, now=1.0) for _ in range(5)]
    assert arrivals == [1.05, 1.05, 1.05, 1.05, None]
    line.held_bytes -= 2**20  # one has arrived
    assert line.arrival(2**20, now=1.1) == pytest.approx(1.15)


def test_a_cut_frees_the_line() -> None:
    line = lane("10KB/s,0ms")
    for _ in range(4):
        line.arrival(1000, now=1.0)
    line.cut(under_way=4)
    assert (line.cut_off, line.held_bytes) == (4, 0)
    assert line.arrival(1000, now=1.0) == pytest.approx(1.1)


def test_a_lost_packet_has_had_its_time_on_the_line() -> None:
    line = lane("10KB/s,0ms,50%", "b")
    arrivals = [line.arrival(100, now=0.0) for _ in range(100)]
    assert 30 < line.lost < 70
    assert arrivals.count(None) == line.lost
    assert line.packets == 100
    for number, arrival in enumerate(arrivals, 1):
        assert arrival is None or arrival == pytest.approx(0.01 * number)
    assert line.held_bytes == 100 * (100 - line.lost)


@pytest.mark.parametrize("burst_packets", [None, 2.0, 4.0])
@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
def test_as_many_are_lost_as_asked_and_in_such_bursts(
    share: float, burst_packets: float | None
) -> None:
    struck = lost(share, burst_packets, 400_000)
    assert sum(struck) / len(struck) == pytest.approx(share, rel=0.1)
    asked = 1 / (1 - share) if burst_packets is None else burst_packets
    assert sum(struck) / bursts(struck) == pytest.approx(asked, rel=0.1)


def test_independent_loss_does_not_depend_on_the_packet_before() -> None:
    struck = lost(0.3, None, 100_000)
    after_a_loss = [now for before, now in pairwise(struck) if before]
    assert sum(after_a_loss) / len(after_a_loss) == pytest.approx(0.3, abs=0.01)


def test_the_same_seed_loses_the_same_and_another_one_does_not() -> None:
    assert lost(0.1, None, 200, "3 up") == lost(0.1, None, 200, "3 up")
    assert lost(0.1, None, 200, "3 up") != lost(0.1, None, 200, "3 down")


def test_no_loss_loses_nothing() -> None:
    assert not any(lost(0.0, None, 1000))
    assert not any(lost(0.0, 5.0, 1000))

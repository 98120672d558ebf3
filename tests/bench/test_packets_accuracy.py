"""Times have strict lower bounds, and generous upper ones: other programs run beside the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aiflow.bench import link_accuracy, packets_space
from aiflow.bench.link import LinkSpec
from aiflow.bench.packets import PacketLink
from aiflow.bench.packets_accuracy import crossings, flow, loss_seen, round_trip
from aiflow.bench.packets_space import why_not


@pytest.fixture
def _needs_root() -> None:
    obstacle = why_not()
    if obstacle is not None:
        pytest.skip(obstacle)


@pytest.mark.usefixtures("_needs_root")
@pytest.mark.parametrize(
    "text, sizes",
    [
        ("2KB/s,200ms", (40, 400)),
        ("25KB/s,50ms", (40, 4_000)),
        ("1.25MB/s,20ms", (400, 12_000)),
        ("unlimited,60ms", (1, 12_000)),
    ],
)
def test_nothing_arrives_early_and_nothing_much_later(text: str, sizes: tuple[int, ...]) -> None:
    with PacketLink("127.0.0.1", 0, LinkSpec.parse(text)) as link:
        found = [*crossings(link, sizes, longest_s=5.0), round_trip(link)]
    assert len(found) == len(sizes) + 1
    for crossing in found:
        assert crossing.measured_s >= crossing.computed_s, crossing
        assert crossing.measured_s <= 1.5 * crossing.computed_s + 0.1, crossing


@pytest.mark.usefixtures("_needs_root")
@pytest.mark.parametrize("burst_packets", [None, 4.0])
def test_as_many_packets_are_lost_as_chance_allows(burst_packets: float | None) -> None:
    found = loss_seen(LinkSpec(None, 0.0, 0.05, burst_packets), packets=2_000, seed=1)
    assert 0.0 < found.low < found.seen < found.high < 0.1
    assert found.mean_burst == pytest.approx(burst_packets or 1.05, rel=0.25)


@pytest.mark.usefixtures("_needs_root")
def test_without_loss_every_packet_arrives() -> None:
    found = loss_seen(LinkSpec(None, 0.0), packets=2_000, seed=1)
    assert (found.seen, found.low, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.usefixtures("_needs_root")
def test_a_flow_of_tcp_gets_through_loss_and_not_past_the_line() -> None:
    found = flow(LinkSpec(125_000, 0.02, 0.05), seconds=1.0, seed=1)
    assert found.lost > 0
    assert found.congestion_control
    # What was queued when the clock began comes on top of the line's rate.
    assert 0.05 < found.share < 1.2


def test_without_root_the_relay_is_measured_and_the_rest_left_out_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused() -> None:
        raise PermissionError

    monkeypatch.setattr(packets_space, "_leave_the_network", refused)
    monkeypatch.setattr(packets_space, "_TUN", Path("/dev/null"))
    monkeypatch.setattr(shutil, "which", lambda _name: "/usr/bin/nsenter")
    monkeypatch.setattr(link_accuracy, "STUDY_LINKS", ("1.25MB/s,20ms",))
    monkeypatch.setattr(link_accuracy, "MESSAGE_BYTES", (40,))
    said: list[str] = []
    figures = link_accuracy.run(seed=0, plot=None, say=said.append)
    reason = (
        "a packet-level link needs root, with the capabilities SYS_ADMIN and NET_ADMIN,"
        " which containers take away; run it with sudo"
    )
    assert figures["packets"] == {"left_out": reason}
    assert said[-1] == f"packet-level link: left out; {reason}"
    assert figures.keys() == {"crossings", "packets"}
    assert [line.split()[:3] for line in said if line.startswith("1.25")] == [
        ["1.25MB/s,20ms", "40", "10.0"]
    ]


def test_a_machine_without_tun_devices_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packets_space, "_TUN", Path("/dev/net/none"))
    assert why_not() == (
        "a packet-level link needs /dev/net/none, which Linux has after `modprobe tun`"
    )

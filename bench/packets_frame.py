"""What a frame of a real device weighs in the air, with the headers of IP and TCP.

    aiflow device | packet-level link | gateway --- mosquitto --- aiflow edge, and a listener

Counted are the packets of both directions between one caption and a later one, so everything that
a running device and its edge node say to each other is in it, and the connection's start is not.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aiflow.bench.broker import PrivateBroker
from aiflow.bench.link import LinkSpec
from aiflow.bench.packets import PacketLink
from aiflow.bench.processes import Child, check_all, stop_all
from aiflow.cli.listener import Listener
from aiflow.cli.processes import ENVIRONMENT_PREFIX, Plan, tier_processes
from aiflow.common.bundle import built_in
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError
from aiflow.common.messages import Caption
from aiflow.common.topics import Topics

LINK: Final = LinkSpec(25_000, 0.05)
FPS: Final = 2.0
FRAMES: Final = 24
TIMEOUT_S: Final = 90.0
BUNDLE: Final = "street"


@dataclass(frozen=True, slots=True)
class FrameWeight:
    """Mean bytes a frame, from inside to outside; packets are a frame's too."""

    link: str
    frames: int
    embedding: float
    mqtt_message: float
    tcp_payload_up: float
    tcp_payload_down: float
    air_up: float
    air_down: float
    packets_up: float
    packets_down: float


@dataclass(frozen=True, slots=True)
class _Reading:
    """The link's counters, when a caption came."""

    payload: tuple[int, int]
    air: tuple[int, int]
    packets: tuple[int, int]

    @staticmethod
    def of(link: PacketLink) -> _Reading:
        return _Reading(
            link.payload_bytes,
            (link.up_bytes, link.down_bytes),
            (link.up.packets, link.down.packets),
        )


def run(say: Callable[[str], None]) -> Mapping[str, object]:
    """Measure and print. Raises AiflowError when the tiers do not work."""
    if BUNDLE not in built_in():
        reason = f"the built-in bundle `{BUNDLE}` is missing; make it with scripts/train"
        say(f"a frame in the air: left out; {reason}")
        return {"left_out": reason}
    weight = measure(LINK, FRAMES)
    say(
        f"a frame in the air, {LINK}, {FPS:g} frames a second: embedding {weight.embedding:.1f} B,"
        f" as MQTT message {weight.mqtt_message:.1f} B"
    )
    say("          TCP payload  with headers  packets")
    for name, payload, air, packets in (
        ("up", weight.tcp_payload_up, weight.air_up, weight.packets_up),
        ("down", weight.tcp_payload_down, weight.air_down, weight.packets_down),
    ):
        say(f"    {name:4}     {payload:6.1f} B      {air:6.1f} B   {packets:6.2f}")
    return asdict(weight)


def measure(spec: LinkSpec, frames: int) -> FrameWeight:
    """Device and edge in mode split. Raises AiflowError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-air-")))
        broker = stack.enter_context(PrivateBroker())
        link = stack.enter_context(PacketLink(broker.host, broker.port, spec))
        plan = Plan(
            broker=Broker(host=broker.host, port=broker.port),
            device_broker=Broker(host=link.host, port=link.port),
            uri="synthetic:street?seed=1",
            fps=FPS,
            bundle=BUNDLE,
            mode="split",
        )
        edge = tier_processes(plan, folder)["edge"]
        tiers = [_device(link, folder), edge]
        listener = Listener(plan.broker, Topics().event(plan.device, plan.camera))
        stack.enter_context(listener)
        stack.callback(stop_all, tiers)
        for child in tiers:
            child.start()
        deadline = time.monotonic() + TIMEOUT_S
        _next(listener, tiers, deadline)
        before = _Reading.of(link)
        captions = [_next(listener, tiers, deadline) for _ in range(frames)]
        after = _Reading.of(link)
    return FrameWeight(
        str(spec),
        frames,
        statistics.fmean(caption.bytes.embedding for caption in captions),
        statistics.fmean(caption.bytes.uplink for caption in captions),
        *_each(before.payload, after.payload, frames),
        *_each(before.air, after.air, frames),
        *_each(before.packets, after.packets, frames),
    )


def _each(before: tuple[int, int], after: tuple[int, int], frames: int) -> tuple[float, float]:
    return (after[0] - before[0]) / frames, (after[1] - before[1]) / frames


def _device(link: PacketLink, folder: Path) -> Child:
    """By the configuration that `tier_processes` has written, at the near end of the link."""
    config = str(folder / "device.toml")
    command = (sys.executable, "-P", "-m", "aiflow", "device", "--config", config)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)
    }
    return Child("device", link.wrap(command), folder / "device.log", environment)


def _next(listener: Listener, tiers: list[Child], deadline: float) -> Caption:
    while time.monotonic() < deadline:
        check_all(tiers)
        caption = listener.next(timeout_s=1.0)
        if caption is not None:
            return caption
    raise AiflowError(f"device and edge gave too few captions in {TIMEOUT_S:g} s")

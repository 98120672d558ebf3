"""A device daemon at work for a benchmark, and what the kernel says of it.

camera process ─> daemon, on one core if wanted ─> private broker ─> edge node
                                                         └─> first embedding, statistics
"""

from __future__ import annotations

import os
import queue
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from aiflow.bench.broker import PrivateBroker
from aiflow.bench.processes import Child, check_all, stop_all
from aiflow.cli import toml
from aiflow.cli.processes import Plan, tier_process, tier_processes
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError
from aiflow.common.messages import DeviceStats
from aiflow.common.mqtt import Properties, Session
from aiflow.common.topics import Topics

DEVICE: Final = "footprint"
CAMERA: Final = "street"
START_S: Final = 60.0
TICKS_S: Final = os.sysconf("SC_CLK_TCK")
_WAIT_S: Final = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Told:
    """A message of statistics, and the CPU time of the device side when it came."""

    stats: DeviceStats
    cpu_s: float

    def count(self, name: str) -> int:
        return int(self.stats.cameras[CAMERA][name])

    def mean_ms(self, stage: str) -> float:
        """Since the message before; 0 where nothing was measured."""
        return float(self.stats.cameras[CAMERA].get(f"{stage}_ms", 0.0))


class Rig:
    """A device that runs, and what has come of it."""

    def __init__(self, broker: Broker, node: str, device: Child, edge: Child) -> None:
        self.first_s: float = 0.0
        """From the start of its process to its first embedding at a subscriber."""
        self._device = device
        self._edge = edge
        self._began = 0.0
        self._ready: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._first: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[Told] = queue.SimpleQueue()
        self.session = Session(broker, "footprint-listener")
        topics = Topics(broker.prefix)
        self.session.subscribe(topics.edge_available(node), 1, self._take_edge)
        self.session.subscribe(topics.embedding(DEVICE, CAMERA), 1, self._take_embedding)
        self.session.subscribe(topics.device_stats(DEVICE), 1, self._take_stats)

    def start(self, core: int | None) -> None:
        """Start the device, on this core alone if one is given, and await its first embedding.

        The edge node has come up by then, so that it takes nothing from the device's start.
        """
        self._edge.start()
        self._awaited(self._ready, START_S, "answer of the edge node")
        with _on_core(core):
            self._began = time.monotonic()
            self._device.start()
        self.first_s = self._awaited(self._first, START_S, "embedding")

    def told(self, timeout_s: float) -> Told:
        """The next statistics. Raises AiflowError when none come, or a process has ended."""
        return self._awaited(self._told, timeout_s, "statistics")

    def pids(self) -> tuple[int, int]:
        """Of the daemon and of its camera's process. Raises AiflowError while that is gone."""
        cameras = children_of(self._device.pid)
        if len(cameras) != 1:
            raise AiflowError(
                f"the device has {len(cameras)} processes of cameras; one is measured"
            )
        return (self._device.pid, cameras[0])

    def _awaited(self, coming: queue.SimpleQueue[_T], timeout_s: float, what: str) -> _T:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            try:
                return coming.get(timeout=_WAIT_S)
            except queue.Empty:
                check_all([self._device, self._edge])
        raise AiflowError(f"no {what} came in {timeout_s:.0f} s")

    def _take_edge(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        if payload == b"online":
            self._ready.put(time.monotonic())

    def _take_embedding(self, _topic: str, _payload: bytes, _properties: Properties) -> None:
        if self._first.empty() and not self.first_s:
            self._first.put(time.monotonic() - self._began)

    def _take_stats(self, _topic: str, payload: bytes, _properties: Properties) -> None:
        cpu_s = sum(cpu_seconds(pid) for pid in self.pids())
        self._told.put(Told(DeviceStats.from_json(payload), cpu_s))


@contextmanager
def running(seed: int, fps: float, core: int | None, stats_every_s: float) -> Iterator[Rig]:
    """Broker, edge node and a device that has sent its first embedding.

    Every frame passes the device's gate, so that each costs all that a frame can cost.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-device-")))
        broker = stack.enter_context(PrivateBroker())
        here = Broker(host=broker.host, port=broker.port)
        plan = Plan(
            here, here, f"synthetic:street?seed={seed}", fps,
            mode="split", device=DEVICE, camera=CAMERA,
        )  # fmt: skip
        edge = tier_processes(plan, folder)["edge"]
        settings: dict[str, toml.Value] = {
            "device": DEVICE,
            "mode": "split",
            "stats_every_s": stats_every_s,
            "broker": here.model_dump(exclude_defaults=True),
            "camera": [{"name": CAMERA, "uri": plan.uri, "fps": fps}],
            "gate": {"pixel_mean": 0.0, "pixel_peak": 0.0, "symbols": 0},
            "outbox": {"path": folder / "outbox.sqlite"},
        }
        device = tier_process("device", toml.text(settings), folder)
        rig = Rig(here, plan.node, device, edge)
        stack.callback(rig.session.close)
        rig.session.start()
        rig.session.wait_connected(10.0)
        stack.callback(stop_all, [device, edge])
        rig.start(core)
        yield rig


def children_of(pid: int) -> tuple[int, ...]:
    """Processes that it has started itself and that still run."""
    found = Path(f"/proc/{pid}/task").glob("*/children")
    return tuple(int(child) for path in found for child in path.read_text().split())


def cpu_seconds(pid: int) -> float:
    """User and system time of all its threads, those that have ended included."""
    # The name in the second field may hold blanks and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_S


def proportional_mb(pid: int) -> float:
    """Its memory in MB; a page that n processes share counts as an n-th."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
    if found is None:
        raise AiflowError("this kernel does not tell a process's proportional set size")
    return int(found[1]) * 1024 / 1e6


@contextmanager
def _on_core(core: int | None) -> Iterator[None]:
    """Processes that this thread starts meanwhile may use this core alone."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)

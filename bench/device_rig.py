"""A device daemon at work for a benchmark, and what the kernel says of it.

camera process ─> daemon, on one core if wanted ─> private broker ─> edge node
                                                         └─> first embedding, statistics ─> Window
"""

from __future__ import annotations

import ctypes
import os
import queue
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from aiflow.common import toml
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError
from aiflow.common.messages import DeviceStats
from aiflow.common.mqtt import Properties, Session
from aiflow.common.topics import Topics
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.child import Child, check_all, stop_all
from aiflow.rig.tiers import Plan, tier_process, tier_processes

DEVICE: Final = "footprint"
CAMERA: Final = "street"
START_S: Final = 60.0
STATS_S: Final = 5.0
"""So often the device tells statistics; the first of them end its warming up."""
LATE_S: Final = 30.0
"""How late they may be."""
ROUNDING_S: Final = 0.5
"""Statistics that come so much too early do not make a window longer."""
STAGES: Final = ("capture", "gate", "encode", "compress", "publish")
_WAIT_S: Final = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Told:
    """A message of statistics, and the CPU time of daemon and camera's process when it came."""

    stats: DeviceStats
    cpu_s: tuple[float, float]

    def count(self, name: str) -> int:
        return int(self.stats.cameras[CAMERA][name])

    def mean_ms(self, stage: str) -> float:
        """Since the message before; 0 where nothing was measured."""
        return float(self.stats.cameras[CAMERA].get(f"{stage}_ms", 0.0))


@dataclass(frozen=True, slots=True)
class Window:
    """What came to pass between messages of statistics, two or more."""

    told: tuple[Told, ...]

    def grown(self, name: str) -> int:
        """By how much a counter of the camera has grown."""
        return self.told[-1].count(name) - self.told[0].count(name)

    @property
    def frames(self) -> range:
        """Those that the daemon looked at; the camera's first frame is number 0."""
        return range(self.told[0].count("looked_at"), self.told[-1].count("looked_at"))

    @property
    def seconds(self) -> float:
        return self.told[-1].stats.uptime_s - self.told[0].stats.uptime_s

    @property
    def cpu_s(self) -> tuple[float, float]:
        """Of the daemon, and of its camera's process."""
        (daemon, camera), before = self.told[-1].cpu_s, self.told[0].cpu_s
        return daemon - before[0], camera - before[1]

    def mean_ms(self, stage: str) -> float:
        """Over all frames of the window."""
        spent = sum(
            now.mean_ms(stage) * (now.count("looked_at") - before.count("looked_at"))
            for before, now in pairwise(self.told)
        )
        return spent / len(self.frames)


def anything(_window: Window) -> bool:
    """Whether to go on, whatever happens."""
    return True


class Rig:
    """A device that runs, and what has come of it."""

    def __init__(self, broker: Broker, node: str, device: Child, edge: Child) -> None:
        self.first_s: float = 0.0
        """From the start of its process to its first embedding at a subscriber,"""
        self.first_cpu_s: float = 0.0
        """and the CPU time of daemon and camera's process until then."""
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
        self.first_cpu_s = sum(self._cpu_s())

    def watch(self, window_s: float, wanted: Callable[[Window], bool] = anything) -> Window:
        """The next messages of statistics, over at least so long, or until it is not `wanted`.

        Raises AiflowError when none come, a process has ended, or no frame has come.
        """
        window = Window((self._next(), self._next()))
        while window.seconds < window_s - ROUNDING_S and wanted(window):
            window = Window((*window.told, self._next()))
        if not window.frames:
            raise AiflowError(f"no frame came in {window.seconds:.0f} s")
        return window

    def _next(self) -> Told:
        return self._awaited(self._told, STATS_S + LATE_S, "statistics")

    def _cpu_s(self) -> tuple[float, float]:
        daemon, camera = self.pids()
        return cpu_seconds(daemon), cpu_seconds(camera)

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
        self._told.put(Told(DeviceStats.from_json(payload), self._cpu_s()))


@contextmanager
def running(uri: str, fps: float, core: int | None) -> Iterator[Rig]:
    """Broker, edge node and a device that has sent its first embedding.

    Every frame passes the device's gate, so that each costs all that a frame can cost.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-device-")))
        broker = stack.enter_context(PrivateBroker())
        here = Broker(host=broker.host, port=broker.port)
        plan = Plan(
            here, here, uri, fps,
            mode="split", device=DEVICE, camera=CAMERA,
        )  # fmt: skip
        edge = tier_processes(plan, folder)["edge"]
        settings: dict[str, toml.Value] = {
            "device": DEVICE,
            "mode": "split",
            "bundle": "street",
            "stats_every_s": STATS_S,
            "broker": here.model_dump(exclude_defaults=True),
            "camera": [{"name": CAMERA, "uri": uri, "fps": fps}],
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
    """User and system time of all its threads, those that have ended included.

    By the process's own clock: /proc counts in hundredths of a second. Raises AiflowError when
    there is no such process.
    """
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise AiflowError(f"process {pid} has ended")
    return time.clock_gettime(clock.value)


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

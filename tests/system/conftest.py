"""Whole systems: the real Mosquitto, the real bundle, and each tier as a process of its own."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from aiflow.common.bundle import built_in
from aiflow.common.config import Broker
from aiflow.common.messages import Caption, EdgeStats, caption_id
from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.topics import Topics
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.child import Child
from aiflow.rig.link import EmulatedLink
from aiflow.rig.tiers import Plan, tier_processes

START_S = 60.0


@pytest.fixture(autouse=True)
def _needs_the_bundle() -> None:
    if "street" not in built_in():
        pytest.skip("needs the built-in bundle `street`; make it with scripts/train")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the tiers' logs with a failed test."""
    report = yield
    system = item.funcargs.get("system")
    if report.failed and isinstance(system, System):
        for child in system.tiers.values():
            report.sections.append((f"log of {child.name}", "\n".join(child.last_lines(40))))
    return report


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


class Recorder:
    """Everything that is published below the prefix, as a subscriber beside the system sees it."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._messages: list[tuple[str, bytes, bool]] = []
        self._port = port
        self._session = self._connected()

    def connect_again(self) -> None:
        """At once, after the broker was away: before the tiers do, which wait a little."""
        self._session.close()
        self._session = self._connected()

    def _connected(self) -> Session:
        session = Session(Broker(port=self._port), f"recorder-{secrets.token_hex(4)}")
        session.subscribe("aiflow/#", 1, self._take)
        session.start()
        session.wait_connected(5.0)
        return session

    def _take(self, topic: str, payload: bytes, properties: Properties) -> None:
        with self._lock:
            self._messages.append((topic, payload, properties.retained))

    def messages(self, topic: str) -> list[bytes]:
        with self._lock:
            return [payload for heard, payload, _ in self._messages if heard == topic]

    def topics(self) -> set[str]:
        with self._lock:
            return {topic for topic, _, _ in self._messages}

    def retained(self) -> set[str]:
        """Topics of what was there before the subscription."""
        with self._lock:
            return {topic for topic, _, retained in self._messages if retained}

    def last(self, topic: str) -> bytes | None:
        heard = self.messages(topic)
        return heard[-1] if heard else None

    def publish(self, topic: str, payload: bytes) -> None:
        assert self._session.publish(Outgoing(topic, payload, qos=1))

    def close(self) -> None:
        self._session.close(drain_s=0.5)


@dataclass(frozen=True)
class Outbox:
    """What a device's outbox says: the ids of all frames accepted, and how many still wait."""

    epoch_ms: int
    accepted: set[str]
    waiting: int


class System:
    """Broker, link and the three tiers, with a camera at `uri`, else at the synthetic street."""

    def __init__(
        self, folder: Path, *, fps: float = 10.0, bundle: str = "street", uri: str | None = None
    ) -> None:
        self.folder = folder
        self.topics = Topics()
        self._sessions: dict[int, int] = {}  # epoch to the first sequence
        self._next = 0
        self._resources = ExitStack()
        try:
            self.broker = self._resources.enter_context(PrivateBroker())
            self.link = self._resources.enter_context(EmulatedLink("127.0.0.1", self.broker.port))
            self.recorder = Recorder(self.broker.port)
            self._resources.callback(self.recorder.close)
            self.plan = Plan(
                broker=Broker(port=self.broker.port),
                device_broker=Broker(port=self.link.port),
                uri=uri or f"synthetic:street?seed=7&truth={folder / 'truth.jsonl'}",
                fps=fps,
                bundle=bundle,
                log_level="debug",
            )
            self.tiers = tier_processes(self.plan, folder)
            self.configure("edge", "receipt_every_s = 0.2")  # tests wait for receipts
            for child in self.tiers.values():
                # Not stopped: that takes longer, and how they end in good order has its own tests.
                self._resources.callback(child.kill)
        except BaseException:
            self._resources.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def configure(self, tier: str, line: str) -> None:
        """Add a top-level key to a tier's file, for its next start."""
        path = self.folder / f"{tier}.toml"
        path.write_text(f"{line}\n{path.read_text()}")

    def mode(self, mode: str) -> None:
        """Set the device's mode, for its next start."""
        path = self.folder / "device.toml"
        path.write_text(path.read_text().replace(f'mode = "{self.plan.mode}"', f'mode = "{mode}"'))

    def start(self, *tiers: str) -> None:
        for tier in tiers or tuple(self.tiers):
            self.tiers[tier].start()

    def child(self, name: str) -> Child:
        return self.broker.child if name == "broker" else self.tiers[name]

    def captions(self) -> list[Caption]:
        """What has come as events, in order."""
        topic = self.topics.event(self.plan.device, self.plan.camera)
        return [Caption.from_json(payload) for payload in self.recorder.messages(topic)]

    def captioned(self) -> set[str]:
        """Ids of the frames that have a caption."""
        return {caption.id for caption in self.captions()}

    def wait_for_captions(self, count: int, timeout_s: float = START_S) -> None:
        wait_until(lambda: len(self.captioned()) >= count, timeout_s, f"{count} captions")

    def camera(self, state: str) -> None:
        self.recorder.publish(
            self.topics.enabled_set(self.plan.device, self.plan.camera), state.encode()
        )

    def outbox(self) -> Outbox:
        """From the device's own file; nothing accepted if there is none yet.

        Sequences go on rising in a new session: its first is the one after the last that was seen.
        """
        path = self.folder / "outbox.sqlite"
        try:
            with contextlib.closing(
                sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
            ) as database:
                stream = database.execute("SELECT epoch_ms, next FROM streams").fetchone()
                (waiting,) = database.execute("SELECT count(*) FROM entries").fetchone()
        except sqlite3.OperationalError:
            stream, waiting = None, 0
        epoch_ms, next_sequence = stream or (0, 0)
        first = self._sessions.setdefault(epoch_ms, self._next)
        self._next = next_sequence
        accepted, plan = range(first, next_sequence), self.plan
        ids = {caption_id(plan.device, plan.camera, epoch_ms, n) for n in accepted}
        return Outbox(epoch_ms, ids, waiting)

    def edge_counters(self) -> dict[str, int]:
        payload = self.recorder.last(self.topics.edge_stats(self.plan.node))
        return EdgeStats.from_json(payload).counters if payload else {}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with System(tmp_path) as whole:
        yield whole

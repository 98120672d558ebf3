"""The cloud worker as a whole, at a real broker."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiflow.cloud.config import CloudConfig
from aiflow.cloud.node import CloudNode
from aiflow.common import mqtt
from aiflow.common.bundle import BundleCoding
from aiflow.common.captioner import Draft, Request
from aiflow.common.codec import Tables
from aiflow.common.config import Broker
from aiflow.common.messages import CloudReply
from aiflow.common.mqtt import Outgoing, Reason, Session

if TYPE_CHECKING:
    from tests.cloud.conftest import FakeCaptions, FakeEdge
    from tests.conftest import Mosquitto

PATIENCE_S = 10.0
REQUEST = "aiflow/cloud/default/request"
REPLY = "aiflow/edge/edge1/reply"


class Asker:
    """An edge node's side: asks, and keeps the replies by correlation."""

    def __init__(self, port: int) -> None:
        self.session = Session(Broker(port=port), "asker")
        self._replies: queue.Queue[tuple[bytes | None, CloudReply]] = queue.Queue()
        self.session.subscribe(
            REPLY,
            1,
            lambda _, payload, properties: self._replies.put(
                (properties.correlation, CloudReply.from_json(payload))
            ),
        )
        self.session.start()
        self.session.wait_connected(PATIENCE_S)

    def ask(
        self, request: bytes, correlation: bytes, reply_topic: str | None = REPLY
    ) -> Reason | None:
        """Returns the broker's word on the request; None without a connection."""
        reasons: queue.Queue[Reason | None] = queue.Queue()
        sent = self.session.publish(
            Outgoing(
                REQUEST,
                request,
                qos=1,
                response_topic=reply_topic,
                correlation=correlation,
                on_accepted=reasons.put,
            )
        )
        return reasons.get(timeout=PATIENCE_S) if sent else None

    def wait_for_a_worker(self) -> None:
        """The broker says when nobody is subscribed to the pool's requests."""
        deadline = time.monotonic() + PATIENCE_S
        while (reason := self.ask(b"", b"probe")) is None or reason.unheard:
            assert time.monotonic() < deadline, "no worker came"
            time.sleep(0.01)
        assert self.reply()[1].error is not None

    def reply(self) -> tuple[bytes | None, CloudReply]:
        return self._replies.get(timeout=PATIENCE_S)

    @property
    def silence(self) -> bool:
        return self._replies.empty()


class World:
    """A broker, one that asks, and workers that can be started."""

    def __init__(self, broker: Mosquitto, captions: FakeCaptions, tables: Tables) -> None:
        self.stack = ExitStack()
        self.broker = broker
        self.captions = captions
        self._tables = tables
        self.asker = Asker(broker.port)
        self.stack.callback(self.asker.session.close)

    def worker(self, name: str = "w1", **settings: object) -> CloudNode:
        config = CloudConfig.model_validate(
            {"broker": {"port": self.broker.port}, "worker": name} | settings
        )
        worker = CloudNode(
            config, [BundleCoding("ab" * 32, b"\xab\xab", self._tables)], self.captions
        )
        self.stack.enter_context(worker)
        worker._session.wait_connected(PATIENCE_S)
        self.asker.wait_for_a_worker()
        return worker


@pytest.fixture
def world(mosquitto: Mosquitto, captions: FakeCaptions, tables: Tables) -> Iterator[World]:
    world = World(mosquitto, captions, tables)
    with world.stack:
        yield world


class Gate:
    """Holds a captioner until it is opened."""

    def __init__(self, captions: FakeCaptions) -> None:
        self._inner = captions.caption
        self.entered = threading.Event()
        self.open = threading.Event()
        captions.caption = self.caption  # type: ignore[method-assign]

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        self.entered.set()
        assert self.open.wait(PATIENCE_S)
        return self._inner(batch)


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.001)


def test_a_reply_carries_the_correlation(world: World, edge: FakeEdge) -> None:
    world.worker()
    world.asker.ask(edge.request(edge.key_frame(1)), b"mine")
    correlation, reply = world.asker.reply()
    assert correlation == b"mine"
    assert reply.text == f"a sum of {edge.symbols(1)[:4].sum()}"
    assert reply.worker == "w1"


def test_workers_of_a_pool_share_the_requests(world: World, edge: FakeEdge) -> None:
    world.worker("w1")
    world.worker("w2")
    for number in range(10):
        world.asker.ask(edge.request(edge.key_frame(number)), bytes([number]))
    replies = [world.asker.reply() for _ in range(10)]
    assert sorted(correlation or b"" for correlation, _ in replies) == [
        bytes([n]) for n in range(10)
    ]
    assert {reply.worker for _, reply in replies} == {"w1", "w2"}
    assert world.asker.silence


def test_what_has_arrived_is_one_batch(world: World, edge: FakeEdge) -> None:
    worker = world.worker(batch_max=4)
    before = worker.counters.value("aiflow_requests_total")
    gate = Gate(world.captions)
    world.asker.ask(edge.request(edge.key_frame(0)), b"0")
    assert gate.entered.wait(PATIENCE_S)
    for number in range(1, 7):
        world.asker.ask(edge.request(edge.key_frame(number)), b"n")
    _until(lambda: worker.counters.value("aiflow_requests_total") == before + 7)
    gate.open.set()
    for _ in range(7):
        world.asker.reply()
    assert [len(batch) for batch in world.captions.batches] == [1, 4, 2]


def test_a_full_worker_says_so_at_once(world: World, edge: FakeEdge) -> None:
    world.worker(max_waiting=1)
    gate = Gate(world.captions)
    world.asker.ask(edge.request(edge.key_frame(0)), b"in hand")
    assert gate.entered.wait(PATIENCE_S)
    world.asker.ask(edge.request(edge.key_frame(1)), b"waiting")
    world.asker.ask(edge.request(edge.key_frame(2)), b"too many")
    correlation, reply = world.asker.reply()
    assert correlation == b"too many"
    assert reply.error == "busy: ask another worker"
    gate.open.set()
    assert [world.asker.reply()[0] for _ in range(2)] == [b"in hand", b"waiting"]


def test_a_closing_worker_sends_its_askers_elsewhere(world: World, edge: FakeEdge) -> None:
    worker = world.worker(batch_max=1)
    gate = Gate(world.captions)
    world.asker.ask(edge.request(edge.key_frame(0)), b"in hand")
    assert gate.entered.wait(PATIENCE_S)
    before = worker.counters.value("aiflow_requests_total")
    world.asker.ask(edge.request(edge.key_frame(1)), b"waiting")
    _until(lambda: worker.counters.value("aiflow_requests_total") == before + 1)
    closer = threading.Thread(target=worker.close)
    closer.start()
    correlation, reply = world.asker.reply()
    assert (correlation, reply.error) == (b"waiting", "closing: ask another worker")
    gate.open.set()
    correlation, reply = world.asker.reply()
    assert (correlation, reply.error) == (b"in hand", None)
    closer.join(PATIENCE_S)


def test_a_malformed_request_gets_an_error(world: World, edge: FakeEdge) -> None:
    worker = world.worker()
    world.asker.ask(edge.request(edge.key_frame(1))[:-4], b"mine")
    correlation, reply = world.asker.reply()
    assert correlation == b"mine"
    assert reply.error is not None
    assert reply.error.startswith("truncated: ")
    assert worker.counters.value("aiflow_request_errors_total", reason="truncated") == 2


@pytest.mark.parametrize("topic", [None, "aiflow/pi/door/enabled/set", "elsewhere"])
def test_replies_go_to_edge_nodes_only(world: World, edge: FakeEdge, topic: str | None) -> None:
    worker = world.worker()
    world.asker.ask(edge.request(edge.key_frame(1)), b"mine", topic)
    world.asker.ask(edge.request(edge.key_frame(2)), b"good")
    assert world.asker.reply()[0] == b"good"
    assert worker.counters.value("aiflow_request_errors_total", reason="reply_topic") == 1


def test_a_fault_of_ours_costs_one_batch(world: World, edge: FakeEdge) -> None:
    worker = world.worker()
    world.captions.fault = RuntimeError("a bug")
    world.asker.ask(edge.request(edge.key_frame(1)), b"lost")
    _until(lambda: worker.counters.value("aiflow_faults_total", where="worker") == 1)
    world.captions.fault = None
    world.asker.ask(edge.request(edge.key_frame(2)), b"good")
    assert world.asker.reply()[0] == b"good"


def test_a_broker_that_dies_and_comes_back(world: World, edge: FakeEdge) -> None:
    world.worker()
    world.broker.kill()
    world.broker.start()
    world.asker.wait_for_a_worker()
    world.asker.ask(edge.request(edge.key_frame(1)), b"mine")
    assert world.asker.reply()[0] == b"mine"


# A worker in a process of its own, with a toy decoder in place of the bundle's.
WORKER = """
import sys
from types import SimpleNamespace
from aiflow.common.captioner import Draft
from aiflow.common.config import load
from aiflow.common.codec import Tables
from aiflow.cloud import service
from aiflow.cloud.config import CloudConfig

class ToyCaptions:
    def __init__(self, *_):
        pass
    def caption(self, batch):
        return [Draft((7, 2), "a sum", 0.9) for _ in batch]

bundle = SimpleNamespace(
    id="ab" * 32, tag=b"\\xab\\xab", tables=Tables.uniform(6, 3, 5, layers=(4, 6)), tokens=6, dims=3
)
service.open_bundles = lambda name: (bundle,)
service.warm_captioners = lambda bundles, tier, threads: ToyCaptions()
service.run(load(CloudConfig, None))
"""


def test_sigterm_ends_the_process_cleanly(
    world: World, edge: FakeEdge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIFLOW_BROKER__PORT", str(world.broker.port))
    process = subprocess.Popen([sys.executable, "-c", WORKER], cwd=tmp_path)
    try:
        world.asker.wait_for_a_worker()
        world.asker.ask(edge.request(edge.key_frame(1)), b"mine")
        assert world.asker.reply()[1].text == "a sum"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        reason = world.asker.ask(b"", b"probe")
        assert reason is not None
        assert reason.unheard
    finally:
        process.kill()


def test_sign_of_life(world: World, edge: FakeEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = world.worker()
    worker.ask()
    _until(lambda: worker.silent() == [])  # nothing waits
    gate = Gate(world.captions)
    world.asker.ask(edge.request(edge.key_frame(0)), b"0")
    assert gate.entered.wait(PATIENCE_S)
    worker.ask()
    assert worker.silent() == ["worker"]
    gate.open.set()
    _until(lambda: worker.silent() == [])
    world.asker.reply()
    assert worker.status() == "connected; 0 requests wait; 1 answered"
    monkeypatch.setattr(mqtt, "STUCK_S", -1.0)
    assert worker.silent() == ["network"]

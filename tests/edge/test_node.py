"""The edge node as a whole: without a broker where that is enough, with a real one where not."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from aiflow.common.bundle import BundleCoding
from aiflow.common.codec import Tables
from aiflow.common.config import Broker
from aiflow.common.encoder import Encoder, Encoding, Image
from aiflow.common.messages import Caption, CloudReply, CloudSeconds, EdgeStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.wire import KeyFrameOrder, unpack_escalation, unpack_receipt, unpack_refine_order
from aiflow.edge.assets import Assets
from aiflow.edge.config import EdgeConfig
from aiflow.edge.decoder import EdgeModel
from aiflow.edge.image_encoder import ImageEncoder
from aiflow.edge.ledger import Ledger
from aiflow.edge.node import EdgeNode
from aiflow.edge.policy import AskLimits, Judgement, Repairs
from aiflow.edge.triggers import Triggers

if TYPE_CHECKING:
    from tests.conftest import Mosquitto
    from tests.edge.conftest import FakeCamera, FakeCaptions, Published

PATIENCE_S = 10.0

Handler = Callable[[str, bytes, Properties], None]


class BlindEncoder(Encoder):
    """Sees the same in every picture."""

    def __init__(self) -> None:
        pass

    def encode(self, image: Image) -> Encoding:
        symbols = np.full((6, 3), 2, np.uint8)
        return Encoding(symbols, symbols.astype(np.float32))


def assets(
    config: EdgeConfig, coding: BundleCoding, captions: FakeCaptions, ledger: Ledger
) -> Assets:
    limits = AskLimits(0.8, config.escalations_per_minute, config.max_pending, 0)
    encoder = ImageEncoder(lambda _bundle: BlindEncoder())
    model = EdgeModel(captions, encoder, {coding.bundle_id: Judgement(limits, Repairs({}, {}))})
    return Assets([coding], model, {}, Triggers(()), ledger)


class Client:
    """Somebody else at the broker; keeps what comes under each filter."""

    def __init__(self, port: int, name: str) -> None:
        self.session = Session(Broker(port=port), name)
        self.session.start()
        self.session.wait_connected(PATIENCE_S)

    def listen(self, topic_filter: str) -> queue.Queue[tuple[str, bytes, Properties]]:
        heard: queue.Queue[tuple[str, bytes, Properties]] = queue.Queue()
        self.session.subscribe(topic_filter, 1, lambda *message: heard.put(message))
        return heard

    def captions(self, leaf: str = "event") -> queue.Queue[Caption]:
        heard: queue.Queue[Caption] = queue.Queue()
        self.session.subscribe(
            f"aiflow/+/+/{leaf}", 1, lambda _, payload, __: heard.put(Caption.from_json(payload))
        )
        return heard

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        sent = threading.Event()
        assert self.session.publish(
            Outgoing(topic, payload, qos=1, retain=retain, on_accepted=lambda _: sent.set())
        )
        assert sent.wait(PATIENCE_S)

    def describe(self, camera: FakeCamera) -> None:
        self.send(camera.topic("descriptor"), camera.descriptor().to_json(), retain=True)

    def wait_for(self, heard: queue.Queue[tuple[str, bytes, Properties]], payload: bytes) -> None:
        while heard.get(timeout=PATIENCE_S)[1] != payload:
            pass


class World:
    """A broker, an edge node that can be started, and clients."""

    def __init__(
        self, folder: Path, broker: Mosquitto, coding: BundleCoding, captions: FakeCaptions
    ) -> None:
        self.stack = ExitStack()
        self.broker = broker
        self.captions = captions
        self._ledger = folder / "ledger.sqlite"
        self._coding = coding

    def client(self, name: str) -> Client:
        client = Client(self.broker.port, name)
        self.stack.callback(client.session.close)
        return client

    def node(self, **settings: object) -> EdgeNode:
        config = EdgeConfig.model_validate(
            {"broker": {"port": self.broker.port}, "cloud_deadline_s": 0.3} | settings
        )
        ledger = self.stack.enter_context(Ledger(self._ledger))
        node = EdgeNode(config, assets(config, self._coding, self.captions, ledger))
        return self.stack.enter_context(node)


@pytest.fixture
def coding(bundle_id: str, tables: Tables) -> BundleCoding:
    return BundleCoding(bundle_id, bytes.fromhex(bundle_id)[:2], tables)


@pytest.fixture
def world(
    tmp_path: Path, mosquitto: Mosquitto, coding: BundleCoding, captions: FakeCaptions
) -> Iterator[World]:
    world = World(tmp_path, mosquitto, coding, captions)
    with world.stack:
        yield world


class FakeSession:
    """An published that is also everything else of a `Session`."""

    published: Published
    handlers: dict[str, Handler]
    connected = True
    stuck = False

    def __init__(self, *_: object, **__: object) -> None:
        self.counters = Counters()
        self.publish = type(self).published
        type(self).handlers = {}

    def subscribe(self, topic_filter: str, _qos: int, handler: Handler) -> None:
        type(self).handlers[topic_filter] = handler

    def announce(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        pass

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def unplugged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    published: Published,
    coding: BundleCoding,
    captions: FakeCaptions,
) -> Iterator[EdgeNode]:
    """A running node whose session is `FakeSession`."""
    FakeSession.published = published
    monkeypatch.setattr("aiflow.edge.node.Session", FakeSession)
    with (
        Ledger(tmp_path / "ledger.sqlite") as ledger,
        EdgeNode(EdgeConfig(), assets(EdgeConfig(), coding, captions, ledger)) as node,
    ):
        yield node


def _arrive(camera: FakeCamera, leaf: str, payload: bytes) -> None:
    FakeSession.handlers[f"aiflow/+/+/{leaf}"](camera.topic(leaf), payload, Properties())


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.0002)


def _until_captioned(published: Published, count: int) -> None:
    _until(lambda: len(published.to("/event")) == count)


def test_an_idle_node_answers_at_once(
    unplugged: EdgeNode, published: Published, camera: FakeCamera
) -> None:
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    came = threading.Event()
    published.on_publish = came.set
    waits_s = []
    for sequence in range(100):
        payload = camera.key_frame(sequence)
        came.clear()
        began = time.perf_counter()
        _arrive(camera, "embedding", payload)
        assert came.wait(PATIENCE_S)
        waits_s.append(time.perf_counter() - began)
        _until_captioned(published, sequence + 1)
    # A wait of any kind on the way would show in every one; a busy machine shows in some.
    assert sorted(waits_s)[10] < 0.002


def test_a_busy_node_fills_its_batches(
    unplugged: EdgeNode, published: Published, captions: FakeCaptions, camera: FakeCamera
) -> None:
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    captions.open.clear()
    _arrive(camera, "embedding", camera.key_frame(0))
    _until(lambda: len(unplugged._queue) == 0)
    for sequence in range(1, 21):
        _arrive(camera, "embedding", camera.key_frame(sequence))
    captions.open.set()
    _until_captioned(published, 21)
    assert [len(batch) for batch in captions.batches] == [1, 16, 4]


def test_a_fault_of_the_decoder_costs_one_batch(
    unplugged: EdgeNode, published: Published, captions: FakeCaptions, camera: FakeCamera
) -> None:
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    captions.fault = RuntimeError("a bug")
    _arrive(camera, "embedding", camera.key_frame(1))
    _until(lambda: unplugged.counters.value("aiflow_faults_total", where="decode") == 1)
    captions.fault = None
    _until(lambda: unplugged._custody.held == 0)
    _arrive(camera, "embedding", camera.key_frame(1))  # the device sends it again
    _until_captioned(published, 1)


def test_a_full_queue_drops_by_policy_and_counts(
    unplugged: EdgeNode, captions: FakeCaptions, camera: FakeCamera
) -> None:
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    captions.open.clear()
    _arrive(camera, "embedding", camera.key_frame(0))
    _until(lambda: len(unplugged._queue) == 0)
    for sequence in range(1, 260):
        _arrive(camera, "embedding", camera.key_frame(sequence))
    assert unplugged.counters.value("aiflow_dropped_total", reason="queue_full") == 3
    _arrive(camera, "embedding", camera.key_frame(1))  # dropped, hence taken again
    assert unplugged.counters.total("aiflow_duplicates_total") == 0
    captions.open.set()


def test_a_missing_reference_orders_key_frames(
    unplugged: EdgeNode, published: Published, camera: FakeCamera
) -> None:
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    _arrive(camera, "embedding", camera.delta(5, 4))
    (order,) = published.to("/refine")
    assert unpack_refine_order(order.payload) == KeyFrameOrder()
    assert order.expiry_s == 10


def test_a_device_caption_is_published_as_the_devices(
    unplugged: EdgeNode, published: Published, camera: FakeCamera
) -> None:
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    _arrive(camera, "embedding", camera.local(5, "a grey cat", 1.0))
    caption = published.to("/caption")[0].caption
    assert (caption.tier, caption.mode, caption.text) == ("device", "device", "a grey cat")
    _until(lambda: camera.key(5) in unplugged._custody._ledger)


def test_from_embedding_to_caption_and_receipt(world: World, camera: FakeCamera) -> None:
    device, home = world.client("device"), world.client("home")
    captions, retained = home.captions(), home.captions("caption")
    receipts = device.listen(camera.topic("receipt"))
    online = device.listen("aiflow/edge/+/available")
    device.describe(camera)  # retained: it was there before the node
    world.node(receipt_every_s=0.05)
    device.wait_for(online, b"online")
    for sequence in (1, 2, 3):
        device.send(camera.topic("embedding"), camera.key_frame(sequence))
    assert [captions.get(timeout=PATIENCE_S).sequence for _ in range(3)] == [1, 2, 3]
    assert retained.get(timeout=PATIENCE_S).sequence == 1
    receipted = set[int]()
    while receipted != {1, 2, 3}:
        for run in unpack_receipt(receipts.get(timeout=PATIENCE_S)[1]).ranges:
            receipted.update(run)
    late_comer = world.client("late-comer").captions("caption")
    assert late_comer.get(timeout=PATIENCE_S).sequence == 3


def test_a_frame_sent_again_is_receipted_again_and_not_captioned(
    world: World, camera: FakeCamera
) -> None:
    device = world.client("device")
    captions = device.captions()
    receipts = device.listen(camera.topic("receipt"))
    device.describe(camera)
    world.node(receipt_every_s=0.05)
    device.wait_for(device.listen("aiflow/edge/+/available"), b"online")
    for _ in range(2):
        device.send(camera.topic("embedding"), camera.key_frame(1))
        assert unpack_receipt(receipts.get(timeout=PATIENCE_S)[1]).ranges == [range(1, 2)]
    assert captions.get(timeout=PATIENCE_S).sequence == 1
    assert captions.empty()


def _reply(text: str) -> bytes:
    return CloudReply(
        text=text,
        confidence=0.99,
        seconds=CloudSeconds(queue=0, compute=0),
        worker="w",
    ).to_json()


def test_the_cloud_betters_a_caption(world: World, camera: FakeCamera) -> None:
    device, worker = world.client("device"), world.client("worker")
    captions = device.captions()

    def work(_topic: str, payload: bytes, properties: Properties) -> None:
        assert unpack_escalation(payload).payloads == (camera.key_frame(1),)
        assert properties.response_topic is not None
        worker.session.publish(
            Outgoing(
                properties.response_topic, _reply("better"), correlation=properties.correlation
            )
        )

    worker.session.subscribe("$share/default/aiflow/cloud/default/request", 1, work)
    device.describe(camera)
    world.captions.confidence = 0.3
    world.node()
    device.wait_for(device.listen("aiflow/edge/+/available"), b"online")
    device.send(camera.topic("embedding"), camera.key_frame(1))
    new, update = captions.get(timeout=PATIENCE_S), captions.get(timeout=PATIENCE_S)
    assert (new.type, new.tier, new.mode) == ("new", "edge", "cascade")
    assert (update.type, update.tier, update.text) == ("update", "cloud", "better")
    assert new.id == update.id


def test_a_worker_killed_with_the_request_in_hand(world: World, camera: FakeCamera) -> None:
    device, other = world.client("device"), world.client("other-worker")
    captions = device.captions()
    taken = threading.Event()
    shared = "$share/default/aiflow/cloud/default/request"
    doomed = Client(world.broker.port, "doomed-worker")
    doomed.session.subscribe(shared, 1, lambda *_: taken.set())
    device.describe(camera)
    world.captions.confidence = 0.3
    world.node()
    device.wait_for(device.listen("aiflow/edge/+/available"), b"online")
    device.send(camera.topic("embedding"), camera.key_frame(1))
    assert taken.wait(PATIENCE_S)
    doomed.session.close()

    def work(_topic: str, _payload: bytes, properties: Properties) -> None:
        assert properties.response_topic is not None
        other.session.publish(
            Outgoing(
                properties.response_topic, _reply("better"), correlation=properties.correlation
            )
        )

    other.session.subscribe(shared, 1, work)
    assert captions.get(timeout=PATIENCE_S).type == "new"
    assert captions.get(timeout=PATIENCE_S).text == "better"


def test_without_a_cloud_every_caption_comes_all_the_same(world: World, camera: FakeCamera) -> None:
    device = world.client("device")
    captions = device.captions()
    device.describe(camera)
    world.captions.confidence = 0.3
    node = world.node()
    device.wait_for(device.listen("aiflow/edge/+/available"), b"online")
    for sequence in range(5):
        device.send(camera.topic("embedding"), camera.key_frame(sequence))
    heard = [captions.get(timeout=PATIENCE_S) for _ in range(5)]
    assert {caption.type for caption in heard} == {"new"}
    _until(lambda: node.counters.value("aiflow_escalation_faults_total", reason="no_worker") >= 1)
    device.send(camera.topic("embedding"), camera.key_frame(9))
    assert "cloud failed, resting" in captions.get(timeout=PATIENCE_S).reason


def test_a_broker_that_dies_and_comes_back(world: World, camera: FakeCamera) -> None:
    device = world.client("device")
    captions = device.captions()
    online = device.listen("aiflow/edge/+/available")
    world.node()
    device.wait_for(online, b"online")
    world.broker.kill()
    world.broker.start()
    # A device does this on each connect; the broker has forgotten all it knew.
    device.wait_for(online, b"online")
    device.describe(camera)
    device.send(camera.topic("embedding"), camera.key_frame(1))
    assert captions.get(timeout=PATIENCE_S).sequence == 1


def test_a_clean_end_says_offline_and_leaves_statistics(world: World, camera: FakeCamera) -> None:
    home = world.client("home")
    stats, available = home.listen("aiflow/edge/+/stats"), home.listen("aiflow/edge/+/available")
    captions = home.captions()
    receipts = home.listen(camera.topic("receipt"))
    home.describe(camera)
    node = world.node(receipt_every_s=4.0)
    home.wait_for(available, b"online")
    home.send(camera.topic("embedding"), camera.key_frame(1))
    captions.get(timeout=PATIENCE_S)
    node.close()
    home.wait_for(available, b"offline")
    assert unpack_receipt(receipts.get(timeout=PATIENCE_S)[1]).ranges == [range(1, 2)]
    message = EdgeStats.from_json(stats.get(timeout=PATIENCE_S)[1])
    assert message.counters['aiflow_captions_total{tier="edge",type="new"}'] == 1
    assert (message.values["streams"], message.values["in_hand"]) == (1, 0)


# A node in a process of its own, with a toy decoder in place of the bundle's.
NODE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from aiflow.common.captioner import Draft
from aiflow.common.config import load
from aiflow.common.codec import Tables
from aiflow.edge import assets, service
from aiflow.edge.config import EdgeConfig

class ToyCaptions:
    def __init__(self, *_):
        pass
    def caption(self, batch):
        return [Draft((7, 2), "a sum", 0.9) for _ in batch]

bundle = SimpleNamespace(
    id="ab" * 32, tag=b"\\xab\\xab", tables=Tables.uniform(6, 3, 5, layers=(4, 6)),
    tokens=6, dims=3, layers=(4, 6), manifest=SimpleNamespace(escalate_below=0.5, figures={}),
)
assets.open_bundles = lambda name: (bundle,)
assets.warm_captioners = lambda bundles, tier, threads: ToyCaptions()
service.run(load(EdgeConfig, Path(sys.argv[1])))
"""


class NodeProcess:
    def __init__(self, folder: Path, port: int) -> None:
        config = folder / "edge.toml"
        ledger = json.dumps(str(folder / "process.sqlite"))
        config.write_text(f"ledger = {ledger}\nreceipt_every_s = 0.05\n[broker]\nport = {port}\n")
        self.process = subprocess.Popen([sys.executable, "-c", NODE, config])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


def test_sigterm_ends_the_process_cleanly(world: World, tmp_path: Path) -> None:
    home = world.client("home")
    available = home.listen("aiflow/edge/+/available")
    node = NodeProcess(tmp_path, world.broker.port)
    try:
        home.wait_for(available, b"online")
        assert node.end(signal.SIGTERM) == 0
        home.wait_for(available, b"offline")
    finally:
        node.process.kill()


def test_kill_9_loses_no_frame(world: World, tmp_path: Path, camera: FakeCamera) -> None:
    device = world.client("device")
    captions = device.captions()
    unreceipted = set(range(40))

    def receipt(_topic: str, payload: bytes, _properties: Properties) -> None:
        for run in unpack_receipt(payload).ranges:
            unreceipted.difference_update(run)

    device.session.subscribe(camera.topic("receipt"), 1, receipt)
    available = device.listen("aiflow/edge/+/available")
    device.describe(camera)
    node = NodeProcess(tmp_path, world.broker.port)
    try:
        device.wait_for(available, b"online")
        for sequence in range(20):
            device.send(camera.topic("embedding"), camera.key_frame(sequence))
        heard = [captions.get(timeout=PATIENCE_S).sequence for _ in range(10)]
        node.end(signal.SIGKILL)
        device.wait_for(available, b"offline")  # the will
        node = NodeProcess(tmp_path, world.broker.port)
        device.wait_for(available, b"online")
        for sequence in sorted(unreceipted):
            device.send(camera.topic("embedding"), camera.key_frame(sequence))
        _until(lambda: not unreceipted)
        while not captions.empty():
            heard.append(captions.get().sequence)
        assert set(heard) == set(range(40))
        # Only what was published in the instant before the kill may come twice.
        assert len(heard) <= 40 + 20
        assert node.end(signal.SIGTERM) == 0
    finally:
        node.process.kill()


def test_sign_of_life(
    unplugged: EdgeNode,
    captions: FakeCaptions,
    camera: FakeCamera,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unplugged.ask()
    _until(lambda: not unplugged.silent())  # nothing waits
    _arrive(camera, "descriptor", camera.descriptor().to_json())
    captions.open.clear()
    _arrive(camera, "embedding", camera.key_frame(0))
    _until(lambda: len(unplugged._queue) == 0)
    stuck = threading.Event()

    def hang() -> None:
        stuck.wait(PATIENCE_S)

    unplugged._timers.after(0.0, hang)
    unplugged.ask()
    time.sleep(0.05)
    assert unplugged.silent() == ["decode", "timers"]
    captions.open.set()
    _until(lambda: unplugged.silent() == ["timers"])
    stuck.set()
    _until(lambda: unplugged.silent() == [])
    monkeypatch.setattr(FakeSession, "stuck", True)
    assert unplugged.silent() == ["network"]
    assert unplugged.status() == "connected; 1 cameras; 0 frames wait"

"""A device on a real broker, with a toy encoder and a camera that the test plays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from aiflow.common import mqtt
from aiflow.common.bundle import Bundle
from aiflow.common.codec import decompress
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError, ConfigError
from aiflow.common.messages import Descriptor, DeviceStats
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.wire import (
    Context,
    KeyFrameOrder,
    Kind,
    Packet,
    RefineOrder,
    pack_receipt,
    pack_refine_order,
    unpack,
)
from aiflow.device import capture, edge_health, send_loop, uplink
from aiflow.device.config import DeviceConfig
from aiflow.device.daemon import Device
from aiflow.device.outbox import Outbox

if TYPE_CHECKING:
    from tests.conftest import Mosquitto
    from tests.device.conftest import FakeCamera, FakeEncoder, WaitUntil

    from aiflow.common.encoder import Encoder

NewDevice = Callable[..., Device]

CAMERAS = {"door": "0", "yard": "1"}
"""Name to uri."""


class Watcher:
    """Hears everything under `aiflow/`, and may speak."""

    def __init__(self, port: int, wait_until: WaitUntil, heard: str = "aiflow/#") -> None:
        self._until = wait_until
        self._lock = threading.Lock()
        self._messages: list[tuple[str, bytes, Properties]] = []
        self.session = Session(Broker(port=port), f"watcher {heard}")
        self.session.subscribe(heard, 1, self._take)
        self.session.start()
        self.session.wait_connected(30)

    def _take(self, topic: str, payload: bytes, properties: Properties) -> None:
        with self._lock:
            self._messages.append((topic, payload, properties))

    def all(self, topic: str) -> list[bytes]:
        with self._lock:
            return [payload for heard, payload, _ in self._messages if heard == topic]

    def last(self, topic: str) -> bytes:
        return (self.all(topic) or [b""])[-1]

    def properties(self, topic: str) -> Properties:
        with self._lock:
            return next(one for heard, _, one in self._messages if heard == topic)

    def hears(self, topic: str, payload: bytes) -> None:
        self._until(lambda: self.last(topic) == payload, f"{topic} is {self.last(topic)!r}")

    def says(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        assert self.session.publish(Outgoing(topic, payload, qos=1, retain=retain))

    def packets(self, camera: str = "door") -> list[Packet]:
        """Of the session that the latest descriptor tells of."""
        topic = f"aiflow/pi/{camera}/"
        self._until(lambda: self.all(topic + "descriptor"), "no descriptor")
        descriptor = Descriptor.from_json(self.last(topic + "descriptor"))
        context = Context("pi", camera, descriptor.epoch_ms)
        packets: list[Packet] = []
        for payload in self.all(topic + "embedding"):
            packets.append(unpack(payload, context, [one.header for one in packets]))
        return packets

    def sequences(self) -> list[int]:
        return [packet.sequence for packet in self.packets()]


@pytest.fixture
def watcher(mosquitto: Mosquitto, wait_until: WaitUntil) -> Iterator[Watcher]:
    watcher = Watcher(mosquitto.port, wait_until)
    yield watcher
    watcher.session.close(drain_s=0)


@pytest.fixture
def cameras(new_camera: Callable[[], FakeCamera]) -> dict[str, FakeCamera]:
    """By uri."""
    return {"0": new_camera(), "1": new_camera()}


@pytest.fixture
def outbox(tmp_path: Path, counters: Counters) -> Iterator[Outbox]:
    path = tmp_path / "outbox.sqlite"
    with Outbox(path, max_entries=1000, max_bytes=10**6, counters=counters) as outbox:
        yield outbox


@pytest.fixture
def fatal_faults() -> list[AiflowError]:
    return []


@pytest.fixture
def new_device(
    mosquitto: Mosquitto,
    bundle: Bundle,
    encoder: FakeEncoder,
    cameras: dict[str, FakeCamera],
    outbox: Outbox,
    fatal_faults: list[AiflowError],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[NewDevice]:
    counters = outbox.counters

    monkeypatch.setattr(capture, "BACKOFF_S", (0.01, 0.05))
    monkeypatch.setattr(capture, "GRACE_S", 0.02)
    monkeypatch.setattr(edge_health, "SETTLE_S", 0.02)
    monkeypatch.setattr(uplink, "TICK_S", 0.02)
    monkeypatch.setattr(send_loop, "TICK_S", 0.02)
    devices: list[Device] = []

    def make(**settings: object) -> Device:
        filled = {
            "device": "pi",
            "broker": Broker(port=mosquitto.port),
            "camera": [{"name": "door", "uri": "0"}],
            "sending": {"resend_after_s": 30},
            **settings,
        }
        config = DeviceConfig.model_validate(filled)
        device = Device(
            config,
            bundle,
            cast("Encoder", encoder),
            outbox,
            counters,
            fatal_faults.append,
            lambda camera: cameras[camera.uri].launch(),
        )
        devices.append(device)
        device.start()
        return device

    yield make
    for device in devices:
        device.stop()


@pytest.fixture
def camera(cameras: dict[str, FakeCamera]) -> FakeCamera:
    return cameras["0"]


def may_write_only(mosquitto: Mosquitto, *topics: str) -> None:
    """Start the broker anew with rules: everybody may read all, and write these."""
    rules = mosquitto.folder / "acl"
    lines = ["topic read #", *(f"topic write {topic}" for topic in topics), ""]
    rules.write_text("\n".join(lines))
    mosquitto.stop()
    mosquitto.configure(f"acl_file {rules}")
    mosquitto.start()


def test_topics_of_a_device(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    bundle: Bundle,
    wait_until: WaitUntil,
) -> None:
    device = new_device()
    watcher.hears("aiflow/pi/available", b"online")
    watcher.hears("aiflow/pi/door/status", b"offline")
    watcher.hears("aiflow/pi/door/enabled/state", b"ON")
    camera.show(100)
    watcher.hears("aiflow/pi/door/status", b"online")
    wait_until(watcher.packets, "not sent")
    (packet,) = watcher.packets()
    assert (packet.kind, packet.sequence, packet.layers) == (Kind.KEY, 0, 2)
    assert decompress(packet.body, bundle.tables, layers=2).shape == (6, 3)
    properties = watcher.properties("aiflow/pi/door/embedding")
    assert properties.qos == 1, "the first message of a connection asks the broker"
    assert properties.expiry_s is not None
    assert 50 < properties.expiry_s <= 60
    descriptor = Descriptor.from_json(watcher.last("aiflow/pi/door/descriptor"))
    assert (descriptor.width, descriptor.height, descriptor.synthetic) == (64, 48, False)
    assert (descriptor.bundle, descriptor.layers) == (bundle.id, (4, 6))
    device.stop()
    watcher.hears("aiflow/pi/door/status", b"offline")
    watcher.hears("aiflow/pi/available", b"offline")


def test_states_are_retained(
    mosquitto: Mosquitto, new_device: NewDevice, camera: FakeCamera, wait_until: WaitUntil
) -> None:
    device = new_device()
    camera.show(100)
    wait_until(lambda: device.stats().cameras["door"]["accepted"] == 1, "not accepted")
    wait_until(lambda: device.stats().values["connected"], "not connected")
    device.stop()
    late = Watcher(mosquitto.port, wait_until)
    for topic, payload in {
        "available": b"offline",
        "door/status": b"offline",
        "door/enabled/state": b"ON",
    }.items():
        late.hears(f"aiflow/pi/{topic}", payload)
    wait_until(lambda: late.all("aiflow/pi/door/descriptor"), "no descriptor")
    assert late.all("aiflow/pi/door/embedding") == []
    late.session.close()


def test_receipt_empties_the_outbox(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
) -> None:
    new_device()
    for value in (50, 100, 150):
        camera.show(value)
        wait_until(lambda: outbox.entries == value // 50, "not accepted")  # noqa: B023
    wait_until(lambda: watcher.sequences() == [0, 1, 2], "not sent")
    watcher.says("aiflow/pi/door/receipt", pack_receipt([0, 2]))
    wait_until(lambda: outbox.entries == 1, "not removed")
    assert [entry.sequence for entry in outbox.after("door", -1, 9)] == [1]


def test_frame_without_receipt_is_sent_again(
    watcher: Watcher, new_device: NewDevice, camera: FakeCamera, wait_until: WaitUntil
) -> None:
    new_device(sending={"resend_after_s": 0.1, "resend_max_s": 0.1})
    camera.show(100)
    wait_until(lambda: watcher.sequences()[:3] == [0, 0, 0], "not sent again")


def test_nothing_is_lost_when_the_broker_is_killed(
    mosquitto: Mosquitto,
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
) -> None:
    watcher.session.announce("aiflow/edge/e1/available", b"online")
    device = new_device()
    camera.show(50)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    mosquitto.kill()
    wait_until(lambda: not device.stats().values["connected"], "the loss is not noticed")
    camera.show(100)
    wait_until(lambda: outbox.entries == 2, "not accepted")
    mosquitto.start()
    wait_until(lambda: {0, 1} <= set(watcher.sequences()[1:]), "not sent after the restart")
    wait_until(lambda: watcher.all("aiflow/pi/available")[1:], "not announced again")
    watcher.says("aiflow/pi/door/receipt", pack_receipt([0, 1]))
    wait_until(lambda: outbox.entries == 0, "deaf after the restart")


def test_device_that_starts_before_its_broker(
    mosquitto: Mosquitto,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
) -> None:
    mosquitto.stop()
    new_device()
    camera.show(100)
    wait_until(lambda: outbox.entries == 1, "not accepted")
    mosquitto.start()
    watcher = Watcher(mosquitto.port, wait_until)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    watcher.session.close()


def test_edge_that_comes_back_gets_everything_at_once(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
) -> None:
    watcher.says("aiflow/edge/e1/available", b"online", retain=True)
    new_device()
    camera.show(50)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    watcher.says("aiflow/edge/e1/available", b"offline", retain=True)
    wait_until(lambda: watcher.last("aiflow/edge/e1/available") == b"offline", "not said")
    camera.show(100)
    wait_until(lambda: outbox.entries == 2, "not accepted")
    watcher.says("aiflow/edge/e1/available", b"online", retain=True)
    wait_until(lambda: set(watcher.sequences()[1:]) >= {0, 1}, "not sent again")
    assert watcher.sequences().count(1) == 1, "frame 1 was sent to nobody"


def test_refine_orders(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    counters: Counters,
    wait_until: WaitUntil,
) -> None:
    new_device(layers=1)
    camera.show(100)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    watcher.says("aiflow/pi/door/refine", pack_refine_order(RefineOrder(0, 1, 1)))
    wait_until(lambda: watcher.packets()[1:], "no refinement")
    refined = watcher.packets()[1]
    assert (refined.kind, refined.sequence, refined.first_layer) == (Kind.REFINE, 0, 1)
    assert counters.value("aiflow_published_bytes_total", kind="refine") > 0
    assert counters.value("aiflow_published_bytes_total", kind="key") > 0
    watcher.says("aiflow/pi/door/refine", pack_refine_order(RefineOrder(9, 1, 1)))
    wait_until(
        lambda: counters.value("aiflow_refine_orders_total", answer="forgotten"), "not heard"
    )
    camera.show(100)
    wait_until(lambda: watcher.sequences() == [0, 0, 1], "no new frame of a still scene")


def test_deltas_refer_to_what_has_a_receipt(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    bundle: Bundle,
    wait_until: WaitUntil,
) -> None:
    new_device()
    camera.show(100)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    watcher.says("aiflow/pi/door/receipt", pack_receipt([0]))
    wait_until(lambda: outbox.entries == 0, "not removed")
    camera.show(115)
    wait_until(lambda: len(watcher.packets()) == 2, "not sent")
    first, second = watcher.packets()
    assert (second.kind, second.reference) == (Kind.DELTA, first.header)
    # The edge node has been restarted and knows no reference.
    watcher.says("aiflow/pi/door/refine", pack_refine_order(KeyFrameOrder()))
    wait_until(lambda: len(watcher.packets()) == 3, "not sent again")
    again = watcher.packets()[2]
    assert (again.kind, again.sequence) == (Kind.KEY, 1)
    symbols = decompress(again.body, bundle.tables, layers=2)
    assert symbols.flat[0] + 5 * symbols.flat[1] + 25 * symbols.flat[2] == 115
    camera.show(130)
    wait_until(lambda: len(watcher.packets()) == 4, "not sent")
    assert watcher.packets()[3].kind is Kind.KEY


def test_camera_is_turned_off_and_on(
    watcher: Watcher, new_device: NewDevice, camera: FakeCamera, wait_until: WaitUntil
) -> None:
    new_device()
    camera.show(50)
    watcher.hears("aiflow/pi/door/status", b"online")
    watcher.says("aiflow/pi/door/enabled/set", b"OFF")
    watcher.hears("aiflow/pi/door/status", b"disabled")
    watcher.hears("aiflow/pi/door/enabled/state", b"OFF")
    camera.show(100)
    wait_until(lambda: camera.closed == 1, "not closed")
    watcher.says("aiflow/pi/door/enabled/set", b"ON")
    watcher.hears("aiflow/pi/door/enabled/state", b"ON")
    camera.show(150)
    watcher.hears("aiflow/pi/door/status", b"online")
    wait_until(lambda: watcher.sequences() == [0, 1], "the frame while it was off was not shown")


def test_rubbish_is_counted_and_disturbs_nothing(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    counters: Counters,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    new_device()
    watcher.hears("aiflow/pi/door/enabled/state", b"ON")
    for leaf in ("receipt", "refine", "enabled/set"):
        for payload in (b"", b"\x00", b"\x14", b"\xff" * 40, bytes(5000)):
            watcher.says(f"aiflow/pi/door/{leaf}", payload)
    watcher.says("aiflow/edge/e1/available", b"perhaps")
    watcher.says("aiflow/edge/e1/available", b"online")
    wait_until(lambda: counters.total("aiflow_mqtt_faults_total") >= 15, "not counted")
    camera.show(100)
    wait_until(lambda: watcher.sequences() == [0], "disturbed")
    assert counters.value("aiflow_mqtt_connects_total") == 1
    assert "Traceback" not in caplog.text


def test_missing_camera_does_not_disturb_another(
    watcher: Watcher,
    new_device: NewDevice,
    cameras: dict[str, FakeCamera],
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cameras["1"].missing = True
    new_device(camera=[{"name": "door", "uri": 0}, {"name": "yard", "uri": 1}])
    cameras["0"].show(100)
    watcher.hears("aiflow/pi/door/status", b"online")
    watcher.hears("aiflow/pi/yard/status", b"offline")
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    assert caplog.text.count("camera yard: it is not there") == 1
    cameras["1"].missing = False
    cameras["1"].show(100)
    watcher.hears("aiflow/pi/yard/status", b"online")
    wait_until(lambda: len(watcher.packets("yard")) == 1, "not sent")


def test_waiting_frames_of_an_earlier_run_need_no_camera(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
) -> None:
    first = new_device()
    camera.show(50)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    first.stop()
    descriptor = watcher.last("aiflow/pi/door/descriptor")
    watcher.says("aiflow/pi/door/descriptor", b"", retain=True)
    watcher.hears("aiflow/pi/door/descriptor", b"")
    camera.missing = True
    new_device()
    watcher.hears("aiflow/pi/door/descriptor", descriptor)
    wait_until(lambda: watcher.sequences() == [0, 0], "not sent again")
    watcher.says("aiflow/pi/door/receipt", pack_receipt([0]))
    wait_until(lambda: outbox.entries == 0, "not removed")


def test_refused_publish_raises_an_alarm_and_keeps_the_frame(
    mosquitto: Mosquitto,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    may_write_only(mosquitto, "aiflow/pi/available")
    new_device()
    camera.show(100)
    wait_until(lambda: outbox.entries == 1, "not accepted")
    wait_until(lambda: "refused a message: Not authorized" in caplog.text, "no alarm")
    assert outbox.entries == 1


def test_full_disk_passes_and_a_damaged_outbox_is_fatal(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    fatal_faults: list[AiflowError],
    wait_until: WaitUntil,
) -> None:
    new_device()
    outbox._file._database.execute("PRAGMA query_only = ON")
    camera.show(50)
    dropped = "aiflow_frames_dropped_total"
    wait_until(lambda: outbox.counters.value(dropped, reason="storage") == 1, "not counted")
    camera.show(50)
    wait_until(lambda: outbox.counters.value(dropped, reason="storage") == 2, "not counted")
    outbox._file._database.execute("PRAGMA query_only = OFF")
    camera.show(50)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    assert fatal_faults == []
    outbox._file.damaged = True
    outbox._file._database.execute("PRAGMA query_only = ON")
    camera.show(100)
    wait_until(lambda: fatal_faults, "not told")


def test_statistics(
    watcher: Watcher, new_device: NewDevice, camera: FakeCamera, wait_until: WaitUntil
) -> None:
    device = new_device()
    camera.show(100)
    wait_until(lambda: watcher.sequences() == [0], "not sent")
    device.publish_stats()
    wait_until(lambda: watcher.all("aiflow/pi/stats"), "no statistics")
    stats = DeviceStats.from_json(watcher.last("aiflow/pi/stats"))
    assert stats.values["outbox_entries"] == 1
    assert stats.values["connected"] is True
    door = stats.cameras["door"]
    assert (door["captured"], door["accepted"], door["status"]) == (1, 1, "online")
    assert float(door["encode_ms"]) > 0
    assert stats.counters["aiflow_mqtt_connects_total"] == 1


def test_payloads_carry_a_mac_with_a_key(
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    path = tmp_path / "key"
    path.write_text("ab" * 16)
    new_device(key_file=str(path))
    camera.show(100)
    wait_until(lambda: watcher.all("aiflow/pi/door/embedding"), "not sent")
    descriptor = Descriptor.from_json(watcher.last("aiflow/pi/door/descriptor"))
    assert descriptor.authentication == "blake2s-64"
    context = Context("pi", "door", descriptor.epoch_ms, bytes.fromhex("ab" * 16))
    assert unpack(watcher.last("aiflow/pi/door/embedding"), context).sequence == 0


def test_more_layers_than_the_bundle_has(new_device: NewDevice) -> None:
    with pytest.raises(ConfigError, match="layers = 3, but bundle toy has 2; lower it"):
        new_device(layers=3)


def test_mode_device_needs_a_decoder(new_device: NewDevice) -> None:
    with pytest.raises(ConfigError, match="mode = device, but bundle toy has no decoder nano"):
        new_device(mode="device")


def test_sign_of_life_needs_no_broker(
    mosquitto: Mosquitto, new_device: NewDevice, camera: FakeCamera, wait_until: WaitUntil
) -> None:
    mosquitto.stop()
    device = new_device()
    camera.show(100)
    wait_until(lambda: device.stats().cameras["door"]["accepted"] == 1, "not accepted")
    for _ in range(3):
        device.ask()
        wait_until(lambda: not device.silent(), "silent without a broker")
    assert device.status() == "1 of 1 cameras online; no broker; 1 frames wait"


def test_threads_that_are_stuck_are_named(
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = new_device()
    wait_until(lambda: device._health.wait_s(time.monotonic()) == 0, "it does not send yet")
    camera.show(200)
    wait_until(lambda: device.stats().cameras["door"]["accepted"] == 1, "no frame")
    uplink_of_door = device._cameras["door"].uplink
    with outbox._lock:
        uplink_of_door._covered.append(0)
        camera.show(100)
        wait_until(lambda: device.stats().cameras["door"]["captured"] == 2, "no frame")
        device.ask()
        wait_until(lambda: device.silent() == ["camera door", "send loop"], "not seen")
        monkeypatch.setattr(mqtt, "STUCK_S", -1.0)
        assert device.silent() == ["camera door", "send loop", "network"]
        monkeypatch.undo()
    wait_until(lambda: not device.silent(), "not stuck any more")


def test_camera_that_not_even_a_kill_ends_is_no_reason_for_a_restart(
    new_device: NewDevice,
    cameras: dict[str, FakeCamera],
    counters: Counters,
    wait_until: WaitUntil,
) -> None:
    both = [
        {"name": "door", "uri": "0", "stall_s": 0.05, "fps": 50},
        {"name": "yard", "uri": "1", "stall_s": 30},
    ]
    cameras["0"].immortal = True
    device = new_device(camera=both)
    wait_until(lambda: counters.value("aiflow_camera_stalls_total") >= 1, "not seen")
    device.ask()
    wait_until(lambda: device.silent() == [], "it keeps a thread of ours")
    cameras["1"].show(*range(0, 250, 20))
    wait_until(lambda: device.stats().cameras["yard"]["captured"] == 13, "the other one waits")
    assert cameras["0"].opened == 1, "it is opened anew only when its last process has ended"


def test_home_assistant_is_told_of_the_cameras_when_the_owner_wants_it(
    mosquitto: Mosquitto, watcher: Watcher, new_device: NewDevice, wait_until: WaitUntil
) -> None:
    outside = Watcher(mosquitto.port, wait_until, "homeassistant/#")
    topic = "homeassistant/device/aiflow-pi/config"
    device = new_device()
    watcher.hears("aiflow/pi/available", b"online")
    device.stop()
    watcher.hears("aiflow/pi/available", b"offline")
    assert outside.all(topic) == []
    device = new_device(home_assistant={"enabled": True}, gate={"max_interval_s": 12})
    wait_until(lambda: outside.all(topic), "not announced")
    assert b'"expire_after":120' in outside.last(topic)
    device.stop()
    new_device(home_assistant={"enabled": False})
    outside.hears(topic, b"")
    outside.session.close()


def test_snapshots_are_for_those_who_listen_at_the_time(
    mosquitto: Mosquitto,
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    wait_until: WaitUntil,
) -> None:
    topic = "aiflow/pi/door/snapshot"
    device = new_device(
        allow_images=True, camera=[{"name": "door", "uri": "0", "snapshot_every_s": 3600}]
    )
    watcher.hears("aiflow/pi/available", b"online")
    camera.show(100)
    wait_until(lambda: len(watcher.packets()) == 1, "the first is not sent")
    camera.show(200)  # only now: a fresher frame replaces one that waits
    wait_until(lambda: len(watcher.packets()) == 2, "the second is not sent")
    wait_until(lambda: watcher.all(topic), "no picture")
    (jpeg,) = watcher.all(topic)
    assert jpeg[:3] == b"\xff\xd8\xff"
    sent = device.stats().counters['aiflow_published_bytes_total{kind="image"}']
    assert sent == len(jpeg)
    device.stop()
    watcher.hears("aiflow/pi/available", b"offline")
    late = Watcher(mosquitto.port, wait_until)
    late.hears("aiflow/pi/available", b"offline")
    assert late.all(topic) == []
    late.session.close()


def test_snapshots_are_refused_without_the_owners_word(new_device: NewDevice) -> None:
    with pytest.raises(ConfigError, match="allow_images = true"):
        new_device(camera=[{"name": "door", "uri": "0", "snapshot_every_s": 60}])


def test_a_broker_that_refuses_snapshots_is_told_of_and_gets_the_frames(
    mosquitto: Mosquitto,
    watcher: Watcher,
    new_device: NewDevice,
    camera: FakeCamera,
    outbox: Outbox,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    leaves = ("status", "descriptor", "embedding", "enabled/state")
    own = [f"aiflow/pi/door/{leaf}" for leaf in leaves]
    may_write_only(mosquitto, "aiflow/pi/available", *own)
    new_device(allow_images=True, camera=[{"name": "door", "uri": "0", "snapshot_every_s": 60}])
    watcher.hears("aiflow/pi/available", b"online")
    camera.show(100)
    wait_until(lambda: "Not authorized (0x87), for aiflow/pi/door/snapshot" in caplog.text, "calm")
    wait_until(watcher.packets, "the frame is not sent")
    assert outbox.entries == 1

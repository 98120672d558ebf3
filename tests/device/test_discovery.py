"""What a device retains for Home Assistant, on a real broker."""

from __future__ import annotations

import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from aiflow.common.config import Broker
from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.topics import Topics
from aiflow.device import discovery
from aiflow.device.discovery import Discovery
from aiflow.device.entities import PLATFORMS

if TYPE_CHECKING:
    from tests.conftest import Mosquitto
    from tests.device.conftest import WaitUntil

PATIENCE_S = 30.0
TOPIC = "homeassistant/device/aiflow-pi/config"
NewDiscovery = Callable[..., Session]


@pytest.fixture
def new_discovery(mosquitto: Mosquitto) -> Iterator[NewDiscovery]:
    """A device's session with its discovery; stopped before the next one is made."""
    running: list[tuple[Session, Discovery]] = []

    def stop() -> None:
        for session, one in running:
            one.stop()
            session.close(drain_s=1.0)
        running.clear()

    def make(*cameras: str, wanted: bool = True, prefix: str = "homeassistant") -> Session:
        stop()
        session = Session(Broker(port=mosquitto.port), "aiflow-device-pi")
        one = Discovery(
            session,
            Topics(),
            "pi",
            cameras,
            prefix=prefix,
            wanted=wanted,
            max_interval_s=30.0,
            pictured=cameras,
        )
        running.append((session, one))
        one.start()
        session.start()
        session.wait_connected(PATIENCE_S)
        return session

    yield make
    stop()


class Hearer:
    """Hears what is published as discovery; speaks as Home Assistant does."""

    def __init__(self, port: int, topic_filter: str = "homeassistant/device/+/config") -> None:
        self._heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.session = Session(Broker(port=port), "hearer")
        self.session.subscribe(topic_filter, 1, self._take)
        self.session.start()
        self.session.wait_connected(PATIENCE_S)

    def next(self) -> tuple[str, bytes]:
        return self._heard.get(timeout=PATIENCE_S)

    def components(self) -> dict[str, Any]:
        """Of the next message."""
        topic, payload = self.next()
        assert topic == TOPIC
        found: dict[str, Any] = json.loads(payload)["components"]
        return found

    def silent(self, after: Session) -> bool:
        """Whether nothing has come, once all that `after` has to say to our words is said."""
        for session in (self.session, after, self.session):
            self._flush(session)
        return self._heard.empty()

    def _flush(self, session: Session) -> None:
        done = threading.Event()
        session.publish(Outgoing("done", b"", qos=1, on_accepted=lambda _: done.set()))
        assert done.wait(PATIENCE_S)

    def _take(self, topic: str, payload: bytes, _properties: Properties) -> None:
        self._heard.put((topic, payload))


@pytest.fixture
def hearer(mosquitto: Mosquitto) -> Iterator[Hearer]:
    hearer = Hearer(mosquitto.port)
    yield hearer
    hearer.session.close(drain_s=0)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "RESEND_S", (0.05, 0.1))


def test_announcement_is_retained(
    mosquitto: Mosquitto, hearer: Hearer, new_discovery: NewDiscovery
) -> None:
    new_discovery("door")
    first = hearer.components()
    assert len(first) == len(PLATFORMS)
    late = Hearer(mosquitto.port)
    assert late.components() == first
    late.session.close(drain_s=0)


def test_prefix_is_that_of_the_configuration(
    mosquitto: Mosquitto, new_discovery: NewDiscovery
) -> None:
    hearer = Hearer(mosquitto.port, "ha/#")
    new_discovery("door", prefix="ha")
    assert hearer.next()[0] == "ha/device/aiflow-pi/config"
    hearer.session.publish(Outgoing("ha/status", b"online", qos=1))
    assert hearer.next() == ("ha/status", b"online")
    assert hearer.next()[0] == "ha/device/aiflow-pi/config"
    hearer.session.close(drain_s=0)


def test_home_assistant_that_starts_is_told_again(
    hearer: Hearer, new_discovery: NewDiscovery
) -> None:
    session = new_discovery("door")
    first = hearer.components()
    hearer.session.publish(Outgoing("homeassistant/status", b"offline", qos=1))
    assert hearer.silent(session)
    hearer.session.publish(Outgoing("homeassistant/status", b"online", qos=1))
    assert hearer.components() == first


def test_it_waits_with_that_once_and_not_beyond_its_end(
    hearer: Hearer, new_discovery: NewDiscovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "RESEND_S", (3600.0, 3600.0))
    session = new_discovery("door")
    hearer.components()
    for _ in range(3):
        hearer.session.publish(Outgoing("homeassistant/status", b"online", qos=1))
    assert hearer.silent(session), "it did not wait"
    (timer,) = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
    new_discovery("door")  # which stops the first
    assert not timer.is_alive()


def test_broker_that_was_killed_is_told_again(
    mosquitto: Mosquitto, new_discovery: NewDiscovery, wait_until: WaitUntil
) -> None:
    session = new_discovery("door")
    mosquitto.kill()
    wait_until(lambda: not session.connected, "the loss is not noticed")
    mosquitto.start()
    late = Hearer(mosquitto.port)
    assert len(late.components()) == len(PLATFORMS)
    late.session.close(drain_s=0)


def test_camera_that_is_no_longer_there_is_taken_out_once(
    mosquitto: Mosquitto, hearer: Hearer, new_discovery: NewDiscovery
) -> None:
    new_discovery("door", "yard")
    both = hearer.components()
    new_discovery("yard")
    assert {"yard_event"} <= set(hearer.components())
    taken_out = hearer.components()
    assert set(taken_out) == set(both)
    assert {key: one for key, one in taken_out.items() if key.startswith("door_")} == {
        f"door_{leaf}": {"platform": platform} for leaf, platform in PLATFORMS.items()
    }
    session = new_discovery("yard")
    assert len(hearer.components()) == len(PLATFORMS)
    assert hearer.silent(session)


def test_not_wanted_it_takes_back_what_is_there(
    mosquitto: Mosquitto, hearer: Hearer, new_discovery: NewDiscovery
) -> None:
    new_discovery("door")
    hearer.components()
    new_discovery("door", wanted=False)
    assert hearer.next() == (TOPIC, b"")
    session = new_discovery("door", wanted=False)
    assert hearer.silent(session), "nothing is there, and something was said"


def test_foreign_words_on_its_topic_are_a_fault_that_is_counted(
    mosquitto: Mosquitto, new_discovery: NewDiscovery, wait_until: WaitUntil
) -> None:
    stranger = Hearer(mosquitto.port)
    stranger.session.publish(Outgoing(TOPIC, b"hello", qos=1, retain=True))
    assert stranger.next() == (TOPIC, b"hello")
    session = new_discovery("door")
    wait_until(
        lambda: session.counters.value("aiflow_mqtt_faults_total", reason="malformed") == 1,
        "not counted",
    )
    assert len(stranger.components()) == len(PLATFORMS)
    stranger.session.close(drain_s=0)


def test_broker_that_refuses_it_is_named_and_the_session_goes_on(
    mosquitto: Mosquitto,
    new_discovery: NewDiscovery,
    wait_until: WaitUntil,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rules = mosquitto.folder / "acl"
    rules.write_text("topic readwrite aiflow/#\n")
    mosquitto.stop()
    mosquitto.configure(f"acl_file {rules}")
    mosquitto.start()
    session = new_discovery("door")
    counters = session.counters
    wait_until(
        lambda: counters.value("aiflow_mqtt_faults_total", reason="publish_refused") == 1,
        "not refused",
    )
    answered = threading.Event()
    session.publish(
        Outgoing("aiflow/pi/available", b"online", qos=1, on_accepted=lambda _: answered.set())
    )
    assert answered.wait(PATIENCE_S)
    assert session.connected
    errors = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert f"Not authorized (0x87), for {TOPIC}" in errors[0]

from __future__ import annotations

import logging
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aiflow.common.config import Broker
from aiflow.common.errors import (
    BrokerLacks,
    BrokerRefused,
    BrokerUnreachable,
    ConfigError,
    PayloadMalformed,
)
from aiflow.common.mqtt import Properties, Reason, Session, Will, publish_size
from aiflow.common.mqtt_link import Link, Outgoing

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

NewSession = Callable[..., Session]
PATIENCE_S = 30.0


class Inbox:
    """A handler that keeps what it got."""

    def __init__(self) -> None:
        self._messages: queue.Queue[tuple[str, bytes, Properties]] = queue.Queue()

    def __call__(self, topic: str, payload: bytes, properties: Properties) -> None:
        self._messages.put((topic, payload, properties))

    def get(self) -> tuple[str, bytes, Properties]:
        return self._messages.get(timeout=PATIENCE_S)

    def payloads(self, count: int) -> list[bytes]:
        return [self.get()[1] for _ in range(count)]

    @property
    def empty(self) -> bool:
        return self._messages.empty()


class Acks:
    """An `on_accepted` that can be waited for."""

    def __init__(self) -> None:
        self._reasons: queue.Queue[Reason | None] = queue.Queue()

    def __call__(self, reason: Reason | None) -> None:
        self._reasons.put(reason)

    def get(self) -> Reason | None:
        return self._reasons.get(timeout=PATIENCE_S)


@pytest.fixture
def new_session() -> Iterator[NewSession]:
    sessions: list[Session] = []

    def make(broker: Mosquitto | Broker, client_id: str = "me", **options: object) -> Session:
        where = broker if isinstance(broker, Broker) else at(broker)
        session = Session(where, client_id, **options)  # type: ignore[arg-type]
        sessions.append(session)
        session.start()
        return session

    yield make
    for session in sessions:
        session.close(drain_s=0)


def at(broker: Mosquitto) -> Broker:
    return Broker(host=broker.host, port=broker.port)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def accepted(session: Session, topic: str, payload: bytes, **options: bool) -> Reason | None:
    acks = Acks()
    assert session.publish(Outgoing(topic, payload, qos=1, on_accepted=acks, **options))  # type: ignore[arg-type]
    return acks.get()


def listening(session: Session, topic_filter: str) -> Inbox:
    """Subscribe, and return once the broker has surely done it."""
    inbox = Inbox()
    session.subscribe(topic_filter, 1, inbox)
    session.wait_connected(PATIENCE_S)
    accepted(session, "test/after-subscribe", b"")
    return inbox


def test_message_with_all_its_properties(mosquitto: Mosquitto, new_session: NewSession) -> None:
    session = new_session(mosquitto)
    inbox = listening(session, "a/+/c")
    sent = session.publish(
        Outgoing(
            "a/b/c", b"hello", qos=1, expiry_s=30, response_topic="r/1", correlation=b"\x00\x01"
        )
    )
    assert sent
    assert inbox.get() == ("a/b/c", b"hello", Properties("r/1", b"\x00\x01", 30, qos=1))


def test_reason_tells_whether_somebody_listens(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    session = new_session(mosquitto)
    listening(session, "heard")
    reason = accepted(session, "heard", b"1")
    assert reason is not None
    assert (reason.code, reason.refused, reason.unheard) == (0, False, False)
    reason = accepted(session, "unheard", b"1")
    assert reason is not None
    assert (reason.code, reason.refused, reason.unheard) == (16, False, True)


def test_qos_0_is_accepted_when_written(mosquitto: Mosquitto, new_session: NewSession) -> None:
    session = new_session(mosquitto)
    session.wait_connected(PATIENCE_S)
    acks = Acks()
    assert session.publish(Outgoing("a", b"1", on_accepted=acks))
    assert acks.get() == Reason(0, "Success")


def test_refused_connection_carries_its_reason_and_is_tried_again(
    mosquitto: Mosquitto, new_session: NewSession, caplog: pytest.LogCaptureFixture
) -> None:
    mosquitto.stop()
    mosquitto.configure("", anonymous=False)
    mosquitto.start()
    session = new_session(mosquitto)
    with pytest.raises(BrokerRefused, match=r"refused me: Not authorized \(0x87\)"):
        session.wait_connected(PATIENCE_S)
    assert not session.connected
    assert not session.publish(Outgoing("a", b"1"))
    assert session.counters.value("aiflow_mqtt_unsent_total", reason="offline") == 1
    mosquitto.stop()
    mosquitto.configure("")
    mosquitto.start()
    until(lambda: session.connected, "the session does not try again")
    assert caplog.text.count("Not authorized") == 1, "the same refusal is logged once"


def test_unreachable_broker_that_comes_later(mosquitto: Mosquitto, new_session: NewSession) -> None:
    mosquitto.stop()
    session = new_session(mosquitto)
    where = f"the MQTT broker at 127.0.0.1:{mosquitto.port} cannot be reached: Connection refused"
    with pytest.raises(BrokerUnreachable, match=where):
        session.wait_connected(0.1)
    mosquitto.start()
    until(lambda: session.connected, "the session does not try again")


def test_broker_that_accepts_tcp_and_says_nothing(new_session: NewSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        session = new_session(Broker(port=silent.getsockname()[1]))
        with pytest.raises(BrokerUnreachable, match=r"no answer from .* in 0.05 s"):
            session.wait_connected(0.05)
        session.close()


def test_broker_that_hangs_up_without_an_answer(new_session: NewSession) -> None:
    with socket.create_server(("127.0.0.1", 0)) as rude:
        session = new_session(Broker(port=rude.getsockname()[1]))
        rude.accept()[0].close()
        until(lambda: session._fault is not None, "not noticed")
        assert "ended the connection without an answer" in str(session._fault)
        assert session.counters.value("aiflow_mqtt_connect_failures_total") == 1
        session.close()


PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"


def answering(connack: bytes, pings: list[float] | None = None) -> Iterator[int]:
    """A broker that answers each CONNECT so, and pings; its port. `pings` gets their times."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Event()

        def serve() -> None:
            while not closing.is_set():
                client, _ = server.accept()
                with client:
                    client.recv(1000)
                    client.sendall(connack)
                    while not closing.is_set() and (got := client.recv(1000)):
                        if got == PINGREQ:
                            client.sendall(PINGRESP)
                            if pings is not None:
                                pings.append(time.monotonic())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        closing.set()
        socket.create_connection(server.getsockname()).close()
        thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    "connack",
    [b"\x20\x02\x00\x01", b"\x20\x02\x00\x00", b"\x20\x02\x00\x05", b"\x20\x03\x00\x84\x00"],
    ids=["refused", "accepted as 3.1.1", "unauthorized in 3.1.1", "refused in 5"],
)
def test_broker_without_mqtt_5_is_said_to_be_that(new_session: NewSession, connack: bytes) -> None:
    for port in answering(connack):
        session = new_session(Broker(port=port))
        with pytest.raises(BrokerLacks, match=f"127.0.0.1:{port} does not speak MQTT 5"):
            session.wait_connected(PATIENCE_S)
        session.close()


@pytest.mark.parametrize(
    "granted, words",
    [
        (b"\x25\x00", "keeps no retained messages"),
        (b"\x24\x00", "takes no messages with QoS 1"),
        (b"\x28\x00", "allows no . and # in subscriptions"),
        (b"\x2a\x00", "has no shared subscriptions"),
    ],
)
def test_what_the_broker_does_not_grant_is_said(
    new_session: NewSession, granted: bytes, words: str
) -> None:
    for port in answering(b"\x20\x05\x00\x00\x02" + granted):
        session = new_session(Broker(port=port))
        session.subscribe("any/+", 1, Inbox())
        session.subscribe("$share/pool/one", 1, Inbox())
        until(lambda: session._fault is not None, "not noticed")  # noqa: B023 - called here
        with pytest.raises(BrokerLacks, match=words):
            session.wait_connected(0)
        session.close()


def test_keepalive_is_the_one_that_the_broker_grants(new_session: NewSession) -> None:
    pings: list[float] = []
    for port in answering(b"\x20\x06\x00\x00\x03\x13\x00\x02", pings):
        session = new_session(Broker(port=port, keepalive_s=300))
        session.wait_connected(PATIENCE_S)
        until(lambda: len(pings) >= 2, "no sign of life as often as the broker wants one")
        assert session.counters.value("aiflow_mqtt_connects_total") == 1
        session.close()


def test_unknown_host(new_session: NewSession) -> None:
    session = new_session(Broker(host="no-such-host.invalid"))
    until(lambda: session._fault is not None, "no fault")
    with pytest.raises(BrokerUnreachable, match=r"no-such-host.invalid:1883 cannot be reached: "):
        session.wait_connected(0)


def test_restart_renews_subscriptions_and_announcements(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    connects: list[int] = []
    session = new_session(mosquitto, on_connect=lambda: connects.append(1))
    session.announce("state", b"starting")
    session.announce("state", b"online")
    inbox = listening(session, "orders")
    mosquitto.kill()
    until(lambda: not session.connected, "the loss is not noticed")
    session.announce("late", b"set while away")
    mosquitto.start()
    until(lambda: session.connected, "not connected again")
    other = new_session(mosquitto, "other")
    states = listening(other, "state")
    late = listening(other, "late")
    assert states.get()[1] == b"online"
    assert late.get()[1:] == (b"set while away", Properties(retained=True, qos=1))
    accepted(other, "orders", b"go")
    assert inbox.get()[1] == b"go"
    assert len(connects) == 2
    assert session.counters.value("aiflow_mqtt_connects_total") == 2


def test_state_that_changes_while_connecting_is_the_last_one(
    mosquitto: Mosquitto, new_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = threading.Event()
    publish = Link.publish

    def slowly(link: Link, message: Outgoing, *, reserved: bool = False) -> str | None:
        if message.payload == b"old":
            changed.wait(0.3)
        return publish(link, message, reserved=reserved)

    monkeypatch.setattr(Link, "publish", slowly)
    session = Session(at(mosquitto), "me")
    session.announce("state", b"old")
    session.start()
    session.wait_connected(PATIENCE_S)
    session.announce("state", b"new")
    changed.set()
    session.close()
    assert listening(new_session(mosquitto, "late"), "state").get()[1] == b"new"


def test_will_is_published_when_we_vanish_and_not_when_we_leave(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    states = listening(new_session(mosquitto, "watcher"), "dev/available")
    session = new_session(mosquitto, will=Will("dev/available", b"offline"))
    session.announce("dev/available", b"online")
    assert states.get()[1] == b"online"
    opened = session._client.socket() if session._client is not None else None
    assert isinstance(opened, socket.socket)
    opened.shutdown(socket.SHUT_RDWR)
    assert states.payloads(2) == [b"offline", b"online"]
    session.close()
    third = new_session(mosquitto, "third")
    third.wait_connected(PATIENCE_S)
    accepted(third, "dev/available", b"end")
    assert states.get()[1] == b"end"


def test_close_delivers_what_was_published_before(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    inbox = listening(new_session(mosquitto, "watcher"), "a")
    session = new_session(mosquitto)
    session.wait_connected(PATIENCE_S)
    for number in range(100):
        assert session.publish(Outgoing("a", b"%d" % number, qos=1))
    session.announce("a", b"offline")
    session.close()
    assert inbox.payloads(101) == [*(b"%d" % number for number in range(100)), b"offline"]
    assert not session._thread.is_alive()


def test_close_of_a_session_that_never_connected(new_session: NewSession) -> None:
    session = new_session(Broker(port=1))
    began = time.monotonic()
    session.close()
    assert time.monotonic() - began < 1


def test_alias_replaces_the_topic_once_acknowledged(
    mosquitto: Mosquitto, new_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = new_session(mosquitto)
    inbox = listening(session, "long/topic/#")
    assert session._client is not None
    written: list[str] = []
    publish = session._client.publish

    def spy(topic: str, *rest: object) -> object:
        written.append(topic)
        return publish(topic, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(session._client, "publish", spy)
    for number in range(3):
        accepted(session, "long/topic/name", b"%d" % number, alias=True)
    assert written == ["long/topic/name", "", ""]
    assert [inbox.get()[:2] for _ in range(3)] == [
        ("long/topic/name", b"%d" % number) for number in range(3)
    ]


def test_more_topics_than_the_broker_grants_aliases(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    session = new_session(mosquitto)
    inbox = listening(session, "many/#")
    topics = [f"many/{number}" for number in range(40)]
    for topic in topics * 2:
        accepted(session, topic, b"", alias=True)
    assert [inbox.get()[0] for _ in range(80)] == topics * 2


def test_unacknowledged_alias_is_never_sent_again_after_a_restart(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    session = new_session(mosquitto)
    session.wait_connected(PATIENCE_S)
    accepted(session, "aliased", b"1", alias=True)
    mosquitto.signal(signal.SIGSTOP)
    acks = [Acks() for _ in range(40)]
    for ack in acks:  # more than fit the window: some wait inside paho
        assert session.publish(Outgoing("aliased", b"2", qos=1, alias=True, on_accepted=ack))
    mosquitto.kill()
    assert [ack.get() for ack in acks] == [None] * 40
    mosquitto.start()
    until(lambda: session.connected, "not connected again")
    inbox = listening(session, "aliased")
    for _ in range(2):
        reason = accepted(session, "aliased", b"3", alias=True)
        assert reason is not None
        assert reason.code == 0
    assert inbox.payloads(2) == [b"3", b"3"]
    assert inbox.empty
    assert session.counters.value("aiflow_mqtt_connects_total") == 2, "the broker threw us out"


def test_broker_that_falls_silent_is_noticed_by_keepalive(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    session = new_session(Broker(port=mosquitto.port, keepalive_s=2))
    session.wait_connected(PATIENCE_S)
    mosquitto.signal(signal.SIGSTOP)
    acks = Acks()
    began = time.monotonic()
    session.publish(Outgoing("a", b"1", qos=1, on_accepted=acks))
    assert acks.get() is None
    assert time.monotonic() - began < 10
    mosquitto.signal(signal.SIGCONT)
    until(lambda: session.connected, "not connected again")


def test_what_is_not_acknowledged_is_bounded(mosquitto: Mosquitto, new_session: NewSession) -> None:
    session = new_session(mosquitto, max_queued=30)
    session.wait_connected(PATIENCE_S)
    mosquitto.signal(signal.SIGSTOP)
    acks = Acks()
    sent = [session.publish(Outgoing("a", b"1", qos=1, on_accepted=acks)) for _ in range(50)]
    assert sent == [True] * 30 + [False] * 20
    assert session.counters.value("aiflow_mqtt_unsent_total", reason="full") == 20
    session.announce("state", b"there is room for a state")
    mosquitto.signal(signal.SIGCONT)
    assert all(acks.get() is not None for _ in range(30))
    other = listening(new_session(mosquitto, "other"), "state")
    assert other.get()[1] == b"there is room for a state"


def test_message_larger_than_the_broker_allows_is_not_sent(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    mosquitto.stop()
    mosquitto.configure("max_packet_size 100")
    mosquitto.start()
    session = new_session(mosquitto)
    session.wait_connected(PATIENCE_S)
    assert not session.publish(Outgoing("a", bytes(200), qos=1))
    assert session.counters.value("aiflow_mqtt_unsent_total", reason="size") == 1
    assert accepted(session, "a", bytes(50)) is not None
    assert session.connected


def test_window_follows_the_broker(mosquitto: Mosquitto, new_session: NewSession) -> None:
    mosquitto.stop()
    mosquitto.configure("max_inflight_messages 3")
    mosquitto.start()
    session = new_session(mosquitto)
    session.wait_connected(PATIENCE_S)
    inbox = listening(session, "a")
    for _ in range(50):
        assert session.publish(Outgoing("a", b"1", qos=1))
    assert len(inbox.payloads(50)) == 50
    assert session._max_in_flight == 3


def test_refused_publish_is_seen_by_its_reason(
    mosquitto: Mosquitto, new_session: NewSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic read #\ntopic write allowed\n")
    mosquitto.stop()
    mosquitto.configure(f"acl_file {rules}")
    mosquitto.start()
    session = new_session(mosquitto)
    session.wait_connected(PATIENCE_S)
    reason = accepted(session, "forbidden", b"1")
    assert reason is not None
    assert (reason.refused, str(reason)) == (True, "Not authorized (0x87)")
    assert session.counters.value("aiflow_mqtt_faults_total", reason="publish_refused") == 1
    error = next(one for one in caplog.records if one.levelname == "ERROR")
    assert error.getMessage().endswith("Not authorized (0x87), for forbidden")
    allowed = accepted(session, "allowed", b"1")
    assert allowed is not None
    assert not allowed.refused


def test_fault_in_a_handler_is_counted_and_nothing_else(
    mosquitto: Mosquitto, new_session: NewSession, caplog: pytest.LogCaptureFixture
) -> None:
    session = new_session(mosquitto)

    def choke(topic: str, payload: bytes, properties: Properties) -> None:
        raise PayloadMalformed("three legs")

    session.subscribe("bad", 1, choke)
    inbox = listening(session, "good")
    accepted(session, "bad", b"1")
    accepted(session, "good", b"2")
    assert inbox.payloads(1) == [b"2"]
    assert session.counters.value("aiflow_mqtt_faults_total", reason="malformed") == 1
    assert session.counters.value("aiflow_mqtt_connects_total") == 1
    assert "malformed: three legs" in caplog.text
    assert "Traceback" not in caplog.text


def test_bug_in_a_handler_costs_one_connection(
    mosquitto: Mosquitto, new_session: NewSession, caplog: pytest.LogCaptureFixture
) -> None:
    session = new_session(mosquitto)
    inbox = listening(session, "good")

    def stumble(topic: str, payload: bytes, properties: Properties) -> None:
        raise ZeroDivisionError

    session.subscribe("bad", 1, stumble)
    other = new_session(mosquitto, "other")
    other.wait_connected(PATIENCE_S)
    accepted(other, "bad", b"1")
    until(lambda: session.counters.value("aiflow_mqtt_connects_total") == 2, "gave up")
    until(lambda: (r := accepted(other, "good", b"2")) is not None and not r.unheard, "deaf")
    assert inbox.get()[1] == b"2"
    assert "ZeroDivisionError" in caplog.text


def test_network_thread_that_hangs_is_stuck(
    mosquitto: Mosquitto, new_session: NewSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiflow.common.mqtt.STUCK_S", 3.0)
    idle = Session(at(mosquitto), "idle")
    assert not idle.stuck, "it has not been started"
    session = new_session(Broker(host=mosquitto.host, port=mosquitto.port, keepalive_s=2))
    hanging = threading.Event()

    def hang(topic: str, payload: bytes, properties: Properties) -> None:
        hanging.wait(PATIENCE_S)

    session.subscribe("any", 1, hang)
    session.wait_connected(PATIENCE_S)
    assert session.publish(Outgoing("any", b"1", qos=1))
    assert not session.stuck
    until(lambda: session.stuck, "not seen")
    hanging.set()
    until(lambda: not session.stuck, "it has come around")


def test_shared_subscription_gives_each_message_to_one(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    inboxes = [
        listening(new_session(mosquitto, f"worker{number}"), "$share/pool/work")
        for number in range(2)
    ]
    boss = new_session(mosquitto, "boss")
    boss.wait_connected(PATIENCE_S)
    for number in range(10):
        accepted(boss, "work", b"%d" % number)
    got = [inbox.payloads(5) for inbox in inboxes]
    assert sorted(got[0] + got[1]) == [b"%d" % number for number in range(10)]


def test_lock_held_around_publish_may_be_taken_by_on_accepted(
    mosquitto: Mosquitto, new_session: NewSession
) -> None:
    session = new_session(mosquitto, max_queued=1000)
    session.wait_connected(PATIENCE_S)
    lock = threading.Lock()
    seen: list[Reason | None] = []

    def on_accepted(reason: Reason | None) -> None:
        with lock:
            seen.append(reason)

    def hammer() -> None:
        for _ in range(200):
            with lock:
                assert session.publish(Outgoing("a", b"1", qos=1, on_accepted=on_accepted))

    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    until(lambda: len(seen) == 800, "some acks are missing, or everybody waits for everybody")
    assert None not in seen


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"expiry_s": 60},
        {"alias": True},
        {"expiry_s": 60, "response_topic": "reply/to/me", "correlation": b"1234"},
    ],
)
@pytest.mark.parametrize("payload_bytes", [0, 40, 200, 20_000])
def test_publish_size_is_what_goes_over_the_wire(
    new_session: NewSession, qos: int, options: dict[str, object], payload_bytes: int
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        session = new_session(Broker(port=server.getsockname()[1]))
        peer, _ = server.accept()
        with peer:
            peer.settimeout(PATIENCE_S)
            peer.recv(1000)
            # CONNACK: success, TopicAliasMaximum 10.
            peer.sendall(bytes([0x20, 6, 0, 0, 3, 0x22, 0, 10]))
            session.wait_connected(PATIENCE_S)
            session.publish(Outgoing("some/topic", bytes(payload_bytes), qos=qos, **options))  # type: ignore[arg-type]
            expected = publish_size(
                len("some/topic"),
                payload_bytes,
                qos=qos,
                alias="alias" in options,
                expiry="expiry_s" in options,
                response_topic_bytes=len("reply/to/me") if "response_topic" in options else None,
                correlation_bytes=4 if "correlation" in options else None,
            )
            received = b""
            while len(received) < expected:
                received += peer.recv(expected - len(received))
            peer.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.recv(1)
            assert received[0] >> 4 == 3


@pytest.fixture
def self_signed(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command.split(), *subject, *files], check=True, capture_output=True)
    key.chmod(0o644)
    return certificate, key


def test_tls(mosquitto: Mosquitto, new_session: NewSession, self_signed: tuple[Path, Path]) -> None:
    certificate, key = self_signed
    plain = Broker(port=mosquitto.port, ca_file=certificate)
    with pytest.raises(BrokerRefused, match="no TLS with the MQTT broker"):
        new_session(plain, "plain").wait_connected(PATIENCE_S)
    mosquitto.stop()
    mosquitto.configure(f"certfile {certificate}\nkeyfile {key}")
    mosquitto.start()
    session = new_session(Broker(port=mosquitto.port, ca_file=certificate))
    session.wait_connected(PATIENCE_S)
    assert accepted(session, "a", b"1") is not None


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.touch()
    with pytest.raises(ConfigError, match=f"password file {absent} cannot be read"):
        Session(Broker(username="u", password_file=absent), "me")
    with pytest.raises(ConfigError, match=f"password file {empty} is empty"):
        Session(Broker(username="u", password_file=empty), "me")
    with pytest.raises(ConfigError, match=f"ca_file {absent} cannot be read: No such file"):
        Session(Broker(ca_file=absent), "me")
    with pytest.raises(ConfigError, match=f"ca_file {empty} holds no certificate in PEM form"):
        Session(Broker(ca_file=empty), "me")


def test_a_key_that_is_of_no_use_is_told_from_the_authority(
    self_signed: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, _ = self_signed
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.touch()
    with pytest.raises(ConfigError, match=f"key_file {absent} cannot be read: No such file"):
        Session(Broker(ca_file=certificate, cert_file=certificate, key_file=absent), "me")
    with pytest.raises(ConfigError, match=f"key_file {empty} are not a certificate and its key"):
        Session(Broker(ca_file=certificate, cert_file=certificate, key_file=empty), "me")


def test_user_name_and_password(
    mosquitto: Mosquitto, new_session: NewSession, tmp_path: Path
) -> None:
    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    passwords.touch(mode=0o600)
    command = ["mosquitto_passwd", "-b", str(passwords), "cam", "s3cret"]
    subprocess.run(command, check=True, capture_output=True)
    passwords.chmod(0o644)
    secret.write_text("s3cret\n")
    mosquitto.stop()
    mosquitto.configure(f"password_file {passwords}", anonymous=False)
    mosquitto.start()
    known = Broker(port=mosquitto.port, username="cam", password_file=secret)
    new_session(known).wait_connected(PATIENCE_S)
    secret.write_text("wrong\n")
    with pytest.raises(BrokerRefused, match="Not authorized"):
        new_session(known, "other").wait_connected(PATIENCE_S)


def test_logs_are_quiet_when_all_is_well(
    mosquitto: Mosquitto, new_session: NewSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        session = new_session(mosquitto)
        listening(session, "a")
        session.close()
    assert caplog.text == ""

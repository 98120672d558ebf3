"""What `aiflow enroll` wrote, held against the real Mosquitto: each refusal, as its client sees it.

The configuration is taken as it was written, but for the address that it listens at (loopback) and
the user that Mosquitto becomes (ours). One long file, since all of it needs that one broker, which
takes longer to put up than to ask.
"""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import queue
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

pytest.importorskip("cryptography", reason="needs the extra enroll")

from aiflow.cli.enroll.certificates import Signer
from aiflow.cli.main import run
from aiflow.common import toml
from aiflow.common.config import Broker
from aiflow.common.errors import BrokerRefused
from aiflow.common.messages import Caption
from aiflow.common.mqtt import Outgoing, Properties, Reason, Session
from aiflow.common.wire import MAX_IMAGE_BYTES
from aiflow.rig.broker import find_mosquitto
from aiflow.rig.child import Child, stop_all

PATIENCE_S = 60.0
SILENCE_S = 0.5
"""How long nothing must come; what was published before it has come by then."""

NewSession = Callable[..., Session]


class Site:
    """An authority, its broker, and the folder of each certificate."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.enroll("init")
        at, state = str(folder / "broker"), str(folder / "state")
        Path(state).mkdir()
        self.enroll(
            *("broker", "--host", "127.0.0.1", "--port", str(self.port), "--at", at),
            *("--state", state),
        )
        self._conf = folder / "test.conf"
        self._configure()
        command = [find_mosquitto(), "-c", str(self._conf)]
        self.child = Child("mosquitto", command, folder / "broker.log")

    def _configure(self) -> None:
        """As it was written, but for the address and the user."""
        written = (self.folder / "broker" / "mosquitto.conf").read_text()
        listener = f"listener {self.port}"
        assert f"\n{listener}\n" in written
        self._conf.write_text(
            f"user {getpass.getuser()}\n"
            + written.replace(f"\n{listener}\n", f"\n{listener} 127.0.0.1\n")
            + "log_type information\n"  # which tells of a reload
        )

    def enroll(self, *words: str) -> str:
        """Run a command; what it says."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert run(["enroll", words[0], "--dir", str(self.folder), *words[1:]]) == 0
        return said.getvalue()

    def start(self) -> None:
        self.child.start()
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert self.child.running, self.child.last_lines()
                assert time.monotonic() < deadline, "mosquitto does not listen"
                time.sleep(0.02)
            else:
                return

    def restart(self) -> None:
        """With its configuration as it is now."""
        self.child.stop()
        self._configure()
        self.start()

    def reload(self) -> None:
        """As `systemctl reload mosquitto` does; returns when it is done."""
        done = self._log().count("Reloading config")
        self.child.tell(signal.SIGHUP)
        wait_until(lambda: self._log().count("Reloading config") > done, "not reloaded")
        time.sleep(0.1)  # it says so first, and has done it before it serves anybody again

    def broker(self, who: str | None, *, authority: Path | None = None) -> Broker:
        """The settings of a client with the certificate in that folder, `device/porch`."""
        ca_file = authority or self.folder / "ca.crt"
        if who is None:
            return Broker(host="127.0.0.1", port=self.port, ca_file=ca_file)
        own = self.folder / who
        return Broker(
            host="127.0.0.1",
            port=self.port,
            ca_file=ca_file,
            cert_file=own / "client.crt",
            key_file=own / "client.key",
        )

    def _log(self) -> str:
        return self.child.log_path.read_text(errors="replace")


class Rude:
    """A client that keeps to no limit that the broker told it."""

    def __init__(self, broker: Broker, client_id: str, username: str | None = None) -> None:
        self.ended: queue.Queue[str] = queue.Queue()
        self._connected: queue.Queue[str] = queue.Queue()
        self.client = Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5
        )
        context = ssl.create_default_context(cafile=broker.ca_file)
        assert broker.cert_file is not None
        context.load_cert_chain(broker.cert_file, broker.key_file)
        self.client.tls_set_context(context)
        if username is not None:
            self.client.username_pw_set(username, "x")
        self.client.on_connect = self._answered
        self.client.on_disconnect = self._ended
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._connected.get(timeout=PATIENCE_S) == "Success"

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _answered(
        self, _c: Client, _u: object, _f: ConnectFlags, code: ReasonCode, _p: PahoProperties | None
    ) -> None:
        self._connected.put(str(code))

    def _ended(
        self,
        _c: Client,
        _u: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        _p: PahoProperties | None,
    ) -> None:
        if flags.is_disconnect_packet_from_server:
            self.ended.put(str(Reason.of(code)))


class Heard:
    """A handler that keeps what comes."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    def __call__(self, topic: str, payload: bytes, _properties: Properties) -> None:
        self.messages.append((topic, payload))


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def answer(session: Session, topic: str, payload: bytes = b"1", *, retain: bool = False) -> str:
    """What the broker says to a QoS 1 message."""
    reasons: queue.Queue[Reason | None] = queue.Queue()
    assert session.publish(Outgoing(topic, payload, qos=1, retain=retain, on_accepted=reasons.put))
    return str(reasons.get(timeout=PATIENCE_S))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site") / "authority")
    for words in (
        ("device", "porch"),
        ("device", "yard"),
        ("edge", "edge1"),
        ("cloud", "w1"),
        ("viewer", "hall"),
        ("operator", "janitor"),
    ):
        site.enroll(*words)
    try:
        site.start()
        yield site
    finally:
        stop_all([site.child])


@pytest.fixture
def connect(site: Site) -> Iterator[NewSession]:
    """Open a session as somebody; it is connected."""
    sessions: list[Session] = []

    def make(who: str, client_id: str = "whatever", **options: object) -> Session:
        session = Session(site.broker(who), client_id, **options)  # type: ignore[arg-type]
        sessions.append(session)
        session.start()
        session.wait_connected(PATIENCE_S)
        return session

    yield make
    for session in sessions:
        session.close(drain_s=0)


def refusal(broker: Broker) -> str:
    """What a client reads that is not let in."""
    session = Session(broker, "whatever")
    session.start()
    try:
        with pytest.raises(BrokerRefused) as caught:
            session.wait_connected(PATIENCE_S)
    finally:
        session.close(drain_s=0)
    return str(caught.value)


UNWANTED = "it ended the connection; it may not want our certificate"


def test_without_a_certificate_nobody_gets_in(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    assert UNWANTED in refusal(site.broker(None))
    wait_until(lambda: UNWANTED in caplog.text, "nothing is logged")


def test_without_tls_nobody_gets_in(site: Site) -> None:
    session = Session(Broker(host="127.0.0.1", port=site.port), "whatever")
    session.start()
    try:
        wait_until(lambda: session._fault, "no fault")
        assert "ended the connection without an answer" in str(session._fault)
    finally:
        session.close(drain_s=0)


def test_foreign_authorities_do_not_count_on_either_side(site: Site, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    for words in (("init",), ("device", "porch")):
        assert run(["enroll", words[0], "--dir", str(foreign), *words[1:]]) == 0
    client = foreign / "device" / "porch"
    files = {"cert_file": client / "client.crt", "key_file": client / "client.key"}
    assert UNWANTED in refusal(site.broker("device/porch").model_copy(update=files))
    told = refusal(site.broker("device/porch", authority=foreign / "ca.crt"))
    assert "no TLS with" in told
    assert "certificate" in told or "signature" in told, told


def test_a_device_cannot_pass_itself_off_as_the_broker(site: Site) -> None:
    own = site.folder / "device" / "porch"
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(own / "client.crt", own / "client.key")
    client = ssl.create_default_context(cafile=site.folder / "ca.crt")
    client.check_hostname = False  # the purpose alone must do
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True))
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        _shake_hands(*ends)


def _shake_hands(*ends: ssl.SSLObject) -> None:
    for _ in range(4):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()


def test_a_certificate_without_rules_may_do_nothing_until_they_are_loaded(
    site: Site, connect: NewSession
) -> None:
    site.enroll("device", "late")
    session = connect("device/late")
    assert answer(session, "aiflow/late/available") == "Not authorized (0x87)"
    site.reload()
    assert answer(session, "aiflow/late/available") != "Not authorized (0x87)"


def test_a_revoked_device_is_silenced_at_once_and_does_not_come_back(
    site: Site, connect: NewSession
) -> None:
    site.enroll("device", "gone")
    site.reload()
    shutil.copytree(site.folder / "device" / "gone", site.folder / "stolen")
    session, viewer, heard = connect("stolen"), connect("viewer/hall"), Heard()
    viewer.subscribe("aiflow/gone/door/event", 1, heard)
    orders = Heard()
    session.subscribe("aiflow/gone/door/enabled/set", 1, orders)
    wait_until(
        lambda: answer(session, "aiflow/gone/door/event", b"before") == "Success (0x00)",
        "the viewer's subscription",
    )
    site.enroll("revoke", "gone")
    site.reload()
    assert session.connected
    assert answer(session, "aiflow/gone/door/event", b"after") == "Not authorized (0x87)"
    operator = connect("operator/janitor")
    assert answer(operator, "aiflow/gone/door/enabled/set", b"OFF") == "Success (0x00)"
    time.sleep(SILENCE_S)
    assert [payload for _, payload in heard.messages] == [b"before"]
    assert orders.messages == []
    session.close(drain_s=0)
    assert UNWANTED in refusal(site.broker("stolen"))
    assert answer(connect("device/porch"), "aiflow/porch/stats") == "No matching subscribers (0x10)"


def test_a_device_writes_its_own_topics_only(
    connect: NewSession, caplog: pytest.LogCaptureFixture
) -> None:
    session = connect("device/yard")
    for topic in (
        "aiflow/porch/door/embedding",
        "aiflow/porch/available",
        "aiflow/yard/door/enabled/set",
        "aiflow/yard/door/receipt",
        "aiflow/edge/edge1/available",
        "aiflow/edge/edge1/reply",
        "aiflow/cloud/default/request",
        "elsewhere",
        "$CONTROL/dynamic-security/v1",
    ):
        assert answer(session, topic) == "Not authorized (0x87)", topic
    assert session.counters.value("aiflow_mqtt_faults_total", reason="publish_refused") == 9
    error = next(one for one in caplog.records if "publish_refused" in one.getMessage())
    assert error.levelname == "ERROR"
    assert error.getMessage().endswith("Not authorized (0x87), for aiflow/porch/door/embedding")
    for leaf in ("embedding", "status", "descriptor", "enabled/state", "caption", "event"):
        assert answer(session, f"aiflow/yard/door/{leaf}") in {
            "Success (0x00)",
            "No matching subscribers (0x10)",
        }


def test_what_is_refused_without_a_word_is_heard_by_nobody(connect: NewSession) -> None:
    yard, porch = connect("device/yard"), connect("device/porch")
    viewer, heard = connect("viewer/hall"), Heard()
    topic = "aiflow/porch/door/event"
    viewer.subscribe(topic, 1, heard)
    wait_until(lambda: answer(porch, topic, b"own") == "Success (0x00)", "nobody listens")
    assert yard.publish(Outgoing(topic, b"forged", qos=0))
    assert answer(yard, topic, b"forged too") == "Not authorized (0x87)"
    answer(porch, topic, b"last")
    wait_until(lambda: (topic, b"last") in heard.messages, "the viewer hears nothing")
    assert {payload for _, payload in heard.messages} == {b"own", b"last"}


def test_a_device_reads_its_own_orders_only(connect: NewSession) -> None:
    # Mosquitto grants every subscription, and looks at the rules when it delivers.
    porch, yard, edge = connect("device/porch"), connect("device/yard"), connect("edge/edge1")
    operator, spy = connect("operator/janitor"), Heard()
    answer(porch, "aiflow/porch/door/descriptor", b"{}", retain=True)
    answer(edge, "aiflow/edge/edge1/available", b"online", retain=True)
    yard.subscribe("#", 1, spy)
    wait_until(lambda: spy.messages, "nothing is heard at all")
    answer(porch, "aiflow/porch/door/embedding", b"secret")
    answer(edge, "aiflow/porch/door/receipt", b"secret")
    answer(edge, "aiflow/porch/door/caption", b"secret")
    answer(operator, "aiflow/porch/door/enabled/set", b"OFF")
    answer(operator, "aiflow/yard/door/enabled/set", b"OFF")
    answer(edge, "aiflow/yard/door/receipt", b"own")
    wait_until(lambda: len(spy.messages) >= 3, "own orders are not heard")
    time.sleep(SILENCE_S)
    assert sorted(spy.messages) == [
        ("aiflow/edge/edge1/available", b"online"),
        ("aiflow/yard/door/enabled/set", b"OFF"),
        ("aiflow/yard/door/receipt", b"own"),
    ]


def test_home_assistant_hears_of_a_device_from_that_device_only(connect: NewSession) -> None:
    porch, yard, edge = connect("device/porch"), connect("device/yard"), connect("edge/edge1")
    home, heard, spied = connect("operator/janitor"), Heard(), Heard()
    own, foreign = (f"homeassistant/device/aiflow-{name}/config" for name in ("porch", "yard"))
    home.subscribe("homeassistant/device/+/config", 1, heard)
    yard.subscribe("homeassistant/#", 1, spied)
    for session, topic in (
        (porch, foreign),
        (porch, "homeassistant/status"),
        (porch, "homeassistant/sensor/porch/config"),
        (edge, own),
        (home, own),
        (connect("viewer/hall"), "homeassistant/status"),
    ):
        assert answer(session, topic, retain=True) == "Not authorized (0x87)", topic
    assert answer(porch, own, b"{}", retain=True) == "Success (0x00)"
    wait_until(lambda: heard.messages, "Home Assistant hears nothing")
    assert answer(home, "homeassistant/status", b"online") == "Success (0x00)"
    wait_until(lambda: spied.messages, "the device does not hear that Home Assistant starts")
    time.sleep(SILENCE_S)
    assert heard.messages == [(own, b"{}")]
    assert spied.messages == [("homeassistant/status", b"online")]
    answer(porch, own, b"", retain=True)


@pytest.mark.parametrize(
    "who, forbidden",
    [
        ("edge/edge1", ["aiflow/porch/door/embedding", "aiflow/porch/door/enabled/set"]),
        ("edge/edge1", ["aiflow/edge/edge2/available", "aiflow/cloud/far/request"]),
        ("cloud/default-w1", ["aiflow/porch/door/caption", "aiflow/cloud/default/request"]),
        ("viewer/hall", ["aiflow/porch/door/caption", "aiflow/porch/door/enabled/set"]),
        ("operator/janitor", ["aiflow/porch/door/caption", "aiflow/porch/door/refine"]),
    ],
)
def test_the_others_have_bounds_too(connect: NewSession, who: str, forbidden: list[str]) -> None:
    session = connect(who)
    assert {answer(session, topic) for topic in forbidden} == {"Not authorized (0x87)"}


def test_a_client_id_cannot_be_taken_over(site: Site, connect: NewSession) -> None:
    victim = connect("device/porch", "aiflow-device-porch")
    connects = victim.counters.value("aiflow_mqtt_connects_total")
    thief = connect("device/yard", "aiflow-device-porch")
    assert answer(thief, "aiflow/porch/door/event") == "Not authorized (0x87)"
    thief.close(drain_s=0)
    by_name = Rude(site.broker("device/yard"), "aiflow-device-porch", "aiflow-device-porch")
    try:
        time.sleep(SILENCE_S)
        assert answer(victim, "aiflow/porch/door/event") != "Not authorized (0x87)"
        assert victim.connected
        assert victim.counters.value("aiflow_mqtt_connects_total") == connects
    finally:
        by_name.close()


def test_a_name_with_a_wildcard_is_worth_nothing_even_if_signed(
    site: Site, connect: NewSession
) -> None:
    signer = Signer.load(
        (site.folder / "ca.crt").read_bytes(), (site.folder / "ca.key").read_bytes()
    )
    for number, name in enumerate(("aiflow-device-+", "#", "aiflow-device-porch/../yard")):
        issued = signer.client(name, 1)
        forged = site.folder / f"forged{number}"
        forged.mkdir()
        (forged / "client.crt").write_bytes(issued.certificate)
        (forged / "client.key").write_bytes(issued.key)
        session = connect(forged.name)
        heard = Heard()
        session.subscribe("#", 1, heard)
        assert answer(session, "aiflow/porch/door/event") == "Not authorized (0x87)"
        answer(connect("device/porch"), "aiflow/porch/door/event")
        time.sleep(SILENCE_S)
        assert heard.messages == []


def test_a_packet_over_the_limit_is_refused_on_both_ends(site: Site, connect: NewSession) -> None:
    large = bytes(70_000)
    session = connect("device/porch")
    assert not session.publish(Outgoing("aiflow/porch/door/embedding", large))
    assert session.counters.value("aiflow_mqtt_unsent_total", reason="size") == 1
    assert answer(session, "aiflow/porch/door/embedding", large[:65_536]) != "Packet too large"
    rude = Rude(site.broker("device/yard"), "whatever")
    try:
        rude.client.publish("aiflow/yard/door/embedding", large, qos=1)
        assert rude.ended.get(timeout=PATIENCE_S) == "Packet too large (0x95)"
    finally:
        rude.close()


def test_pictures_are_barred_until_a_device_is_allowed_to_send_some(
    site: Site, connect: NewSession
) -> None:
    topics = [f"aiflow/porch/door/{leaf}" for leaf in ("image", "snapshot")]
    porch = connect("device/porch")
    assert {answer(porch, topic) for topic in topics} == {"Not authorized (0x87)"}

    said = site.enroll("pictures", "porch")
    assert "max_packet_size only" in said
    assert "sudo systemctl restart mosquitto" in said
    site.restart()
    wait_until(lambda: porch.connected, "not back")
    sessions = {
        who: connect(who)
        for who in ("edge/edge1", "operator/janitor", "viewer/hall", "device/yard")
    }
    heard = {who: Heard() for who in sessions}
    for who, session in sessions.items():
        session.subscribe("aiflow/porch/+/image", 1, heard[who])
        session.subscribe("aiflow/porch/+/snapshot", 1, heard[who])
    picture = bytes(MAX_IMAGE_BYTES)
    wait_until(
        lambda: all(answer(porch, topic, picture) == "Success (0x00)" for topic in topics),
        "nobody may see them",
    )
    wait_until(lambda: heard["edge/edge1"].messages, "the edge node hears nothing")
    wait_until(lambda: heard["operator/janitor"].messages, "the operator hears nothing")
    time.sleep(SILENCE_S)
    seen = {who: {topic for topic, _ in one.messages} for who, one in heard.items()}
    assert seen == {
        "edge/edge1": {"aiflow/porch/door/image"},
        "operator/janitor": {"aiflow/porch/door/snapshot"},
        "viewer/hall": set(),
        "device/yard": set(),
    }
    yard = sessions["device/yard"]
    assert {answer(yard, topic) for topic in topics} == {"Not authorized (0x87)"}
    assert answer(yard, "aiflow/yard/door/snapshot") == "Not authorized (0x87)"

    assert "max_packet_size only" in site.enroll("pictures", "porch", "--off")
    site.restart()
    wait_until(lambda: porch.connected, "not back")
    assert {answer(porch, topic) for topic in topics} == {"Not authorized (0x87)"}
    assert not porch.publish(Outgoing(topics[0], picture)), (
        "the broker takes no packet of that size"
    )


def test_three_tiers_with_certificates_caption_frames(
    site: Site, connect: NewSession, tmp_path: Path
) -> None:
    """Real daemons; then the device is revoked while it is connected."""
    site.enroll("device", "gate")
    site.reload()
    viewer, heard = connect("viewer/hall"), Heard()
    viewer.subscribe("aiflow/gate/+/event", 1, heard)
    children = _daemons(site, tmp_path)
    try:
        for child in children.values():
            child.start()
        logs = [child.log_path for child in children.values()]
        wait_until(lambda: {"edge", "cloud"} <= _tiers(heard), f"not both have answered: {logs}")
        for tier, name in {"device": "gate", "edge": "edge1", "cloud": "default-w1"}.items():
            # The client id that a tier asks for is the name that was certified.
            _logged(children[tier], f"as aiflow-{tier}-{name}")
        page = _logged(children["edge"], r"dashboard on (http://\S+)")[1]
        wait_until(lambda: _shown(page)["lines"] != [], "its dashboard shows no caption")
        (device,) = _shown(page)["state"]["places"]["devices"]
        assert (device["name"], device["state"]) == ("gate", "online")
        outbox = tmp_path / "outbox.sqlite"
        wait_until(lambda: _outbox(outbox)[0] > 0, "no receipt has taken a frame away")
        site.enroll("revoke", "gate")
        site.reload()
        _logged(children["device"], r"refused a message: Not authorized \(0x87\), for aiflow/gate/")
        assert _outbox(outbox)[1] > 0, "the refused frame is gone"
    finally:
        stop_all(list(children.values()))


def _daemons(site: Site, folder: Path) -> dict[str, Child]:
    """With what `aiflow enroll` said, but for where the files are."""
    more: dict[str, dict[str, toml.Value]] = {
        "device": {
            "camera": [{"name": "door", "uri": "synthetic:street?seed=7", "fps": 4.0}],
            "outbox": {"path": str(folder / "outbox.sqlite")},
            "sending": {"resend_after_s": 1.0, "resend_max_s": 1.0},
            "mode": "cascade",
        },
        "edge": {
            "ledger": str(folder / "ledger.sqlite"),
            "threshold": 1.0,
            "dashboard": {"enabled": True, "port": 0},
        },
        "cloud": {},
    }
    own = {"device": "device/gate", "edge": "edge/edge1", "cloud": "cloud/default-w1"}
    names = {"device": {"device": "gate"}, "edge": {"node": "edge1"}, "cloud": {"worker": "w1"}}
    children = {}
    for tier, settings in more.items():
        broker = site.broker(own[tier]).model_dump(mode="json", exclude_none=True)
        path = folder / f"{tier}.toml"
        path.write_text(toml.text({**names[tier], **settings, "broker": broker}))
        command = [sys.executable, "-P", "-m", "aiflow", tier, "--config", str(path)]
        children[tier] = Child(tier, command, folder / f"{tier}.log")
    return children


def _logged(child: Child, pattern: str) -> re.Match[str]:
    """What matches in its log, as soon as that is there."""
    wait_until(
        lambda: re.search(pattern, child.log_path.read_text()), f"{child.name} logs no {pattern}"
    )
    found = re.search(pattern, child.log_path.read_text())
    assert found is not None
    return found


def _shown(page: str) -> dict[str, Any]:
    """With what the edge node's dashboard begins."""
    with urllib.request.urlopen(f"{page}/events", timeout=PATIENCE_S) as stream:
        data = next(line for line in stream if line.startswith(b"data: "))
    hello: dict[str, Any] = json.loads(data.removeprefix(b"data: "))
    return hello


def _tiers(heard: Heard) -> set[str]:
    return {Caption.from_json(payload).tier for _, payload in heard.messages}


def _outbox(path: Path) -> tuple[int, int]:
    """How many frames receipts have taken away, and how many wait."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (accepted,) = database.execute("SELECT sum(next) FROM streams").fetchone()
        (waiting,) = database.execute("SELECT count(*) FROM entries").fetchone()
    return (accepted or 0) - waiting, waiting

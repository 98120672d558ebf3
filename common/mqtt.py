"""The MQTT 5 session of a daemon: connects, stays connected, and says what was accepted.

One network thread per session. It connects (again, with jittered back-off), subscribes and
announces anew on each connect, and calls handlers and `on_accepted`. **They run on that thread:
they must be short, must not wait for anything of this session, and hand longer work to a queue.**
An AiflowError from a handler is counted and logged; the session goes on.

`connected` means that the broker answered CONNECT with reason code 0, and a message counts as
accepted only by the reason code of its PUBACK. Sessions start clean: nothing is kept for us by the
broker or by paho across connections. Custody is the business of outbox and ledger.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec

from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage, topic_matches_sub
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

from aiflow.common.config import Broker
from aiflow.common.errors import (
    AiflowError,
    BrokerError,
    BrokerLacks,
    BrokerRefused,
    BrokerUnreachable,
    PayloadError,
)
from aiflow.common.metrics import Counters, Faults
from aiflow.common.mqtt_client import (
    NOT_MQTT_5,
    Credentials,
    Will,
    connection_fault,
    lacking,
    new_client,
    no_answer,
)
from aiflow.common.mqtt_link import (
    PUBACK_BYTES,
    RESERVE,
    Link,
    OnAccepted,
    Outgoing,
    Reason,
    publish_size,
)

__all__ = [
    "PUBACK_BYTES",
    "Handler",
    "OnAccepted",
    "Outgoing",
    "Properties",
    "Publish",
    "Reason",
    "Session",
    "Will",
    "publish_size",
]

log = logging.getLogger(__name__)

BACKOFF_S: Final = (0.5, 30.0)
STEADY_S: Final = 5.0
"""A connection that lasted this long resets the back-off."""
MAX_IN_FLIGHT: Final = 20
"""QoS 1 messages sent and not yet acknowledged; fewer if the broker asks for fewer."""

LONGEST_LOOP_S: Final = 60.0
STUCK_S: Final = 300.0
"""Longest that one turn of the network thread may take: a pause of 30 s, a look-up of the name in
every domain and at every server, connecting, TLS."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What came with a message besides topic and payload."""

    response_topic: str | None = None
    correlation: bytes | None = None
    expiry_s: int | None = None
    retained: bool = False
    qos: int = 0


Handler = Callable[[str, bytes, Properties], None]
Publish = Callable[[Outgoing], bool]
"""`Session.publish`, for a part that needs no more of a session."""
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class _Subscription:
    filter: str
    qos: int
    handler: Handler

    def matches(self, topic: str) -> bool:
        shared = self.filter.startswith("$share/")
        return topic_matches_sub(self.filter.split("/", 2)[2] if shared else self.filter, topic)


class Session:
    """One client of the broker; any thread may call it."""

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will: Will | None = None,
        on_connect: Callable[[], None] | None = None,
        on_disconnect: Callable[[], None] | None = None,
        max_queued: int = 256,
        counters: Counters | None = None,
    ) -> None:
        """`max_queued` bounds what is published and not yet acknowledged, over all topics.

        `on_connect` and `on_disconnect` run on the network thread. Raises ConfigError when the
        password file or a certificate cannot be read.
        """
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._max_queued = max_queued
        self._max_in_flight = MAX_IN_FLIGHT
        self._keepalive_s = broker.keepalive_s
        self._credentials = Credentials.read(broker)
        self.counters = counters if counters is not None else Counters()
        self._faults = Faults(self.counters, "aiflow_mqtt_faults_total", log)
        self._changed = threading.Condition()  # guards the next four
        self._link: Link | None = None
        self._client: Client | None = None
        self._fault: BrokerError | None = None
        self._subscriptions: tuple[_Subscription, ...] = ()
        self._announcements: dict[str, Outgoing] = {}
        self._announcing = threading.Lock()  # so that an older state never follows a newer one
        self._acks: deque[tuple[int, Reason]] = deque()  # of the network thread alone
        self._unanswered = True  # likewise
        self._closing = threading.Event()
        self._turned_at = math.inf
        self._thread = threading.Thread(target=self._run, name=f"mqtt {client_id}", daemon=True)

    @property
    def connected(self) -> bool:
        return self._link is not None

    @property
    def stuck(self) -> bool:
        """Whether the network thread has not come around for longer than any network explains."""
        return time.monotonic() - self._turned_at > STUCK_S

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._turned_at = time.monotonic()
        self._thread.start()

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the first answer of the broker.

        Raises BrokerRefused with its reason as soon as it says no, and BrokerUnreachable when
        there is no answer in time. The session goes on trying in both cases.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._link is not None or isinstance(self._fault, BrokerRefused), timeout_s
            )
            if self._link is not None:
                return
            raise self._fault or BrokerUnreachable(f"no answer from {self._where} in {timeout_s} s")

    def subscribe(self, topic_filter: str, qos: int, handler: Handler) -> None:
        """Call `handler` for what arrives there; remembered, and renewed on each connect.

        The filters of one session must not overlap: brokers may deliver a message once for each
        that matches (MQTT 5, 3.3.4), and each time every matching handler is called.
        """
        with self._changed:
            self._subscriptions += (_Subscription(topic_filter, qos, handler),)
            client = self._client if self._link is not None else None
        if client is not None:
            client.subscribe(topic_filter, qos)

    def announce(self, topic: str, payload: bytes, *, retain: bool = True) -> None:
        """Publish a state with QoS 1, now and again on each connect; the latest one counts."""
        message = Outgoing(topic, payload, qos=1, retain=retain)
        with self._announcing:
            self._announcements[topic] = message
            if self.connected:
                self._send(message, reserved=True)

    def publish(self, message: Outgoing) -> bool:
        """Hand one message over; False (counted) if not connected, full, or larger than allowed.

        After True, its `on_accepted` is called once, on the network thread: with the PUBACK's
        reason (QoS 0: it was written to the socket), or with None when the connection ends first.
        After False it is never called.
        """
        return self._send(message)

    def close(self, drain_s: float = 1.0) -> None:
        """Wait up to `drain_s` for acks, then disconnect cleanly, which cancels the will."""
        link = self._link
        if link is not None:
            link.drain(drain_s)
        self._closing.set()
        with self._changed:
            client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(timeout=2.0)

    def _send(self, message: Outgoing, *, reserved: bool = False) -> bool:
        link = self._link
        obstacle = "offline" if link is None else link.publish(message, reserved=reserved)
        if obstacle is None:
            return True
        self.counters.add("aiflow_mqtt_unsent_total", reason=obstacle)
        if obstacle == "size":
            self._faults.record("size", f"a message for {message.topic} is larger than allowed")
        return False

    # The network thread.

    @property
    def _where(self) -> str:
        return f"the MQTT broker at {self._broker.host}:{self._broker.port}"

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                self._connection()
            except OSError as error:
                tls = self._credentials.tls is not None
                self._failed(connection_fault(error, self._where, tls=tls))
            except Exception:
                # The outermost loop of this thread: a bug in a handler costs one connection.
                log.exception("the connection to %s ended by a fault of ours", self._where)
                self.counters.add("aiflow_mqtt_faults_total", reason="bug")
            steady = self._disconnected()
            failures = 0 if steady else failures + 1
            ceiling = min(BACKOFF_S[1], BACKOFF_S[0] * 2.0 ** min(max(failures - 1, 0), 16))
            self._turned_at = time.monotonic()
            self._closing.wait(random.uniform(ceiling / 2, ceiling))

    def _connection(self) -> None:
        """Connect once and serve the connection until it ends."""
        client = new_client(
            self._broker,
            self._client_id,
            self._credentials,
            will=self._will,
            max_in_flight=self._max_in_flight,
            max_queued=self._max_queued + RESERVE,
        )
        client.on_connect = self._answered
        client.on_disconnect = self._ended
        client.on_message = self._received
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        with self._changed:
            self._client = client
        self._unanswered = True
        try:
            client.connect(self._broker.host, self._broker.port, self._keepalive_s)
            while (code := client.loop(_pause_s(client))) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._turned_at = time.monotonic()
                self._deliver_acks()
                if self._closing.is_set():
                    client.disconnect()
            self._deliver_acks()
            if self._unanswered and not self._closing.is_set():
                tls = self._credentials.tls is not None
                old = code == MQTTErrorCode.MQTT_ERR_PROTOCOL  # an answer, but none of MQTT 5
                self._failed(
                    BrokerLacks(f"{self._where} {NOT_MQTT_5}")
                    if old
                    else no_answer(self._where, tls=tls)
                )
        finally:
            self._acks.clear()
            socket = client.socket()
            if socket is not None:
                socket.close()

    def _answered(
        self,
        client: Client,
        _userdata: object,
        _flags: object,
        code: ReasonCode,
        granted: PahoProperties | None,
    ) -> None:
        """CONNACK."""
        self._unanswered = False
        reason = Reason.of(code)
        missing = lacking(reason, granted, [one.filter for one in self._subscriptions])
        if missing is not None:
            self._failed(BrokerLacks(f"{self._where} {missing}"))
            client.disconnect()
            return
        if reason.code != 0:
            self._failed(BrokerRefused(f"{self._where} refused {self._client_id}: {reason}"))
            return
        link = Link(client, granted, self._max_queued, self._refused)
        if link.receive_maximum < self._max_in_flight or link.keepalive_s not in {
            None,
            client.keepalive,
        }:
            # paho's window cannot shrink on an open connection (nor, in older ones, its keepalive
            # change): come again with what was granted.
            self._max_in_flight = min(link.receive_maximum, self._max_in_flight)
            self._keepalive_s = link.keepalive_s or self._keepalive_s
            client.disconnect()
            return
        self.counters.add("aiflow_mqtt_connects_total")
        log.info("connected to %s as %s", self._where, self._client_id)
        with self._announcing:
            with self._changed:
                self._link = link
                self._fault = None
                filters = [(one.filter, one.qos) for one in self._subscriptions]
                self._changed.notify_all()
            if filters:
                client.subscribe(filters)
            for message in self._announcements.values():
                self._send(message, reserved=True)
        if self._on_connect is not None:
            self._guarded(self._on_connect)

    def _ended(
        self,
        _client: Client,
        _userdata: object,
        flags: DisconnectFlags,
        code: ReasonCode,
        _properties: PahoProperties | None,
    ) -> None:
        if self._link is not None and not self._closing.is_set():
            why = f": {Reason.of(code)}" if flags.is_disconnect_packet_from_server else ""
            log.warning("lost the connection to %s%s", self._where, why)

    def _disconnected(self) -> bool:
        """Tell everybody; returns whether there had been a connection for long enough."""
        with self._changed:
            link, self._link, self._client = self._link, None, None
        if link is None:
            return False
        self._guarded(link.close)
        if self._on_disconnect is not None:
            self._guarded(self._on_disconnect)
        return link.age_s >= STEADY_S

    def _failed(self, fault: BrokerError) -> None:
        """Remember why there is no connection; logged when it is news."""
        self.counters.add("aiflow_mqtt_connect_failures_total")
        with self._changed:
            news = str(fault) != str(self._fault)
            self._fault = fault
            self._changed.notify_all()
        if news:
            log.warning("%s; trying again", fault)

    def _received(self, _client: Client, _userdata: object, message: MQTTMessage) -> None:
        topic = message.topic
        came = message.properties
        properties = Properties(
            response_topic=getattr(came, "ResponseTopic", None),
            correlation=getattr(came, "CorrelationData", None),
            expiry_s=getattr(came, "MessageExpiryInterval", None),
            retained=bool(message.retain),
            qos=message.qos,
        )
        for subscription in self._subscriptions:
            if subscription.matches(topic):
                self._guarded(subscription.handler, topic, bytes(message.payload), properties)

    def _published(
        self,
        _client: Client,
        _userdata: object,
        mid: int,
        code: ReasonCode,
        _properties: PahoProperties | None,
    ) -> None:
        self._acks.append((mid, Reason.of(code)))

    def _refused(self, topic: str, reason: Reason) -> None:
        """Told by the link: an error, as it does not go away by itself."""
        what = f"{self._where} refused a message: {reason}, for {topic}"
        self._faults.record("publish_refused", what, logging.ERROR)

    def _deliver_acks(self) -> None:
        """Outside of paho's callbacks, where it holds locks that its publish() takes as well."""
        while self._acks:
            mid, reason = self._acks.popleft()
            if self._link is not None:
                self._guarded(self._link.acknowledged, mid, reason)

    def _subscribed(
        self,
        _client: Client,
        _userdata: object,
        _mid: int,
        codes: list[ReasonCode],
        _properties: PahoProperties | None,
    ) -> None:
        for reason in map(Reason.of, codes):
            if reason.refused:
                what = f"{self._where} refused a subscription: {reason}"
                self._faults.record("subscribe_refused", what)

    def _guarded(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run somebody's callback; an expected fault of theirs must not end the connection."""
        try:
            call(*args, **kwargs)
        except PayloadError as error:
            self._faults.record(error.reason, error)
        except AiflowError as error:
            self._faults.record(type(error).__name__, error)


def _pause_s(client: Client) -> float:
    """Longest time in loop(), which returns at once when there is something to do.

    It is for the keepalive: once the broker has answered, the one that it granted.
    """
    return min(max(1.0, client.keepalive / 4), LONGEST_LOOP_S)

"""One connection to an MQTT 5 broker: what it allows, topic aliases, and who awaits which ack.

A `Link` lives exactly as long as its TCP connection, and so do topic aliases (MQTT 5, 3.3.2.3.4)
and everything that paho queues: the next connection gets a new paho client. Thus paho can never
send an old PUBLISH again, whose alias the broker no longer knows; whoever needs a message to
survive the connection keeps it himself and is told by its `on_accepted` that it is not accepted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, cast

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties
from paho.mqtt.reasoncodes import ReasonCode

DEFAULT_RECEIVE_MAXIMUM: Final = 65_535
MAX_ALIASES: Final = 64
"""Most topic aliases used on one connection, whatever the broker allows."""
PUBACK_BYTES: Final = 4
"""Without a reason other than success (MQTT 5, 3.4)."""
RESERVE: Final = 64
"""Room beyond `max_queued` that is kept for announcements of state."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason code of MQTT 5: 0x80 and above say no."""

    code: int
    words: str

    @property
    def refused(self) -> bool:
        return self.code >= 0x80

    @property
    def unheard(self) -> bool:
        """The broker took the message, but nobody is subscribed to its topic."""
        return self.code == 0x10

    def __str__(self) -> str:
        return f"{self.words} (0x{self.code:02x})"

    @classmethod
    def of(cls, code: ReasonCode) -> Reason:
        # Nearly all are, and paho looks for their words in tables.
        return SUCCESS if code.value == 0 else cls(int(code.value), str(code))


SUCCESS: Final = Reason(0, "Success")


OnAccepted = Callable[[Reason | None], None]
"""Gets the reason code of the broker's ack, or None when the connection ended without one."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message to publish; `alias` asks for a topic alias if the broker grants one more."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    expiry_s: int | None = None
    alias: bool = False
    response_topic: str | None = None
    correlation: bytes | None = None
    on_accepted: OnAccepted | None = None


def publish_size(
    topic_bytes: int,
    payload_bytes: int,
    *,
    qos: int = 0,
    alias: bool = False,
    expiry: bool = False,
    response_topic_bytes: int | None = None,
    correlation_bytes: int | None = None,
) -> int:
    """Bytes of one MQTT 5 PUBLISH packet (section 3.3), TCP and TLS not counted.

    `topic_bytes` is what is written on the wire: 0 where an alias stands for the topic. The
    broker's PUBACK for QoS 1 is `PUBACK_BYTES` more, in the other direction.
    """
    properties = 3 * alias + 5 * expiry
    properties += 0 if response_topic_bytes is None else 3 + response_topic_bytes
    properties += 0 if correlation_bytes is None else 3 + correlation_bytes
    remaining = 2 + topic_bytes + (2 if qos else 0) + payload_bytes
    remaining += _varint_size(properties) + properties
    return 1 + _varint_size(remaining) + remaining


def _varint_size(value: int) -> int:
    return 1 if value < 128 else 2 if value < 16_384 else 3 if value < 2_097_152 else 4


class Link:
    """One accepted connection. `publish` may be called from any thread."""

    def __init__(
        self,
        client: Client,
        granted: PahoProperties | None,
        max_queued: int,
        on_refused: Callable[[str, Reason], None],
    ) -> None:
        """`granted` are the properties of the broker's CONNACK.

        `on_refused` gets topic and reason of each message that the broker did not accept.
        """
        self._client = client
        self._on_refused = on_refused
        self._max_queued = max_queued
        self._max_aliases = min(_granted(granted, "TopicAliasMaximum", 0), MAX_ALIASES)
        self._max_packet = _granted(granted, "MaximumPacketSize", 0)
        self.receive_maximum = _granted(granted, "ReceiveMaximum", DEFAULT_RECEIVE_MAXIMUM)
        self.keepalive_s: int | None = getattr(granted, "ServerKeepAlive", None)
        self._since = time.monotonic()
        self._changed = threading.Condition()  # guards what follows; never held while calling out
        self._closed = False
        self._aliases: dict[str, int] = {}
        self._known: set[int] = set()  # aliases that the broker has certainly learned
        self._awaited: dict[int, tuple[str, OnAccepted | None, int | None]] = {}
        self._publishing = 0  # threads inside paho's publish()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._since

    def publish(self, message: Outgoing, *, reserved: bool = False) -> str | None:
        """Hand a message to paho; returns why it could not: `offline`, `full` or `size`."""
        if self._max_packet and _size(message) > self._max_packet:
            return "size"
        with self._changed:
            if self._closed:
                return "offline"
            if len(self._awaited) >= self._max_queued + (RESERVE if reserved else 0):
                return "full"
            alias = self._alias(message)
            # The topic is left out only once the broker has acknowledged a message that carried
            # both: paho lets QoS 0 overtake QoS 1 that waits for its window.
            topic = "" if alias in self._known else message.topic
            self._publishing += 1
        sent: MQTTMessageInfo | None = None
        try:
            sent = self._client.publish(
                topic, message.payload, message.qos, message.retain, _properties(message, alias)
            )
        finally:
            obstacle = self._published(sent, message, alias)
        return obstacle

    def acknowledged(self, mid: int, reason: Reason) -> None:
        """The broker's PUBACK came, or a QoS 0 message was written to the socket.

        Called by the network thread while it holds none of paho's locks. The ack can overtake
        the return of paho's publish() in another thread; that one is waited for.
        """
        with self._changed:
            self._changed.wait_for(lambda: mid in self._awaited or not self._publishing)
            topic, on_accepted, alias = self._awaited.pop(mid, ("", None, None))
            if alias is not None and not reason.refused:
                self._known.add(alias)
            self._changed.notify_all()
        if reason.refused:
            self._on_refused(topic, reason)
        if on_accepted is not None:
            on_accepted(reason)

    def drain(self, timeout_s: float) -> bool:
        """Wait until every message is acknowledged; False if some are not by then."""
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not self._awaited, timeout_s)

    def close(self) -> None:
        """The connection has ended: tell everybody who still waits."""
        with self._changed:
            self._closed = True
            awaited = list(self._awaited.values())
            self._awaited.clear()
            self._changed.notify_all()
        for _, on_accepted, _ in awaited:
            if on_accepted is not None:
                on_accepted(None)

    def _published(
        self, sent: MQTTMessageInfo | None, message: Outgoing, alias: int | None
    ) -> str | None:
        with self._changed:
            self._publishing -= 1
            self._changed.notify_all()
            if sent is None or sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                return "full"
            if self._closed or sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return "offline"
            self._awaited[sent.mid] = (message.topic, message.on_accepted, alias)
            return None

    def _alias(self, message: Outgoing) -> int | None:
        if not message.alias:
            return None
        if message.topic not in self._aliases and len(self._aliases) < self._max_aliases:
            self._aliases[message.topic] = len(self._aliases) + 1
        return self._aliases.get(message.topic)


def _granted(properties: PahoProperties | None, name: str, default: int) -> int:
    return int(getattr(properties, name, default))


def _size(message: Outgoing) -> int:
    topic, correlation = message.response_topic, message.correlation
    return publish_size(
        len(message.topic.encode()),
        len(message.payload),
        qos=message.qos,
        alias=message.alias,
        expiry=message.expiry_s is not None,
        response_topic_bytes=None if topic is None else len(topic.encode()),
        correlation_bytes=None if correlation is None else len(correlation),
    )


def _properties(message: Outgoing, alias: int | None) -> PahoProperties:
    if message.response_topic is None and message.correlation is None:
        return _usual_properties(message.expiry_s, alias)
    properties = _new_properties(message.expiry_s, alias)
    if message.response_topic is not None:
        properties.ResponseTopic = message.response_topic
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    return properties


class _Packed:
    """Properties that are packed already: all that paho asks of those of a PUBLISH."""

    def __init__(self, properties: PahoProperties) -> None:
        self._packed: bytes = properties.pack()  # type: ignore[no-untyped-call]

    def pack(self) -> bytes:
        return self._packed


@lru_cache(maxsize=256)
def _usual_properties(expiry_s: int | None, alias: int | None) -> PahoProperties:
    """Shared by messages, since paho takes a hundred steps to pack some bytes."""
    return cast("PahoProperties", _Packed(_new_properties(expiry_s, alias)))


def _new_properties(expiry_s: int | None, alias: int | None) -> PahoProperties:
    properties = PahoProperties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if expiry_s is not None:
        properties.MessageExpiryInterval = expiry_s
    if alias is not None:
        properties.TopicAlias = alias
    return properties

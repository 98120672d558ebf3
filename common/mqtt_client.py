"""A paho client set up for one connection: identity, TLS, will, bounds. It connects nothing yet."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties as PahoProperties

from aiflow.common.config import Broker, first_line
from aiflow.common.errors import BrokerError, BrokerRefused, BrokerUnreachable, ConfigError
from aiflow.common.mqtt_link import Reason

CONNECT_TIMEOUT_S: Final = 5.0
NOT_MQTT_5: Final = (
    "does not speak MQTT 5, which AI Flow needs; take Mosquitto 1.6 or newer, or another broker "
    "with MQTT 5 turned on"
)
_SAID_NO: Final = {
    0x84: NOT_MQTT_5,
    0x9A: "keeps no retained messages, which AI Flow needs; turn them on there",
    0x9B: "takes no messages with QoS 1, which AI Flow needs; turn it on there",
}
"""What a broker without the thing answers to a CONNECT whose will needs it (MQTT 5, 3.2.2.2)."""


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us, retained and with QoS 1, when we vanish."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the files named in a `Broker` section hold."""

    password: str | None
    tls: ssl.SSLContext | None

    @classmethod
    def read(cls, broker: Broker) -> Self:
        """Raises ConfigError when a file cannot be read or used."""
        return cls(_password(broker), _tls_context(broker))


def new_client(
    broker: Broker,
    client_id: str,
    credentials: Credentials,
    *,
    will: Will | None,
    max_in_flight: int,
    max_queued: int,
) -> Client:
    """A client that does not reconnect by itself and leaves all writing to the looping thread."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    client.max_inflight_messages_set(max_in_flight)
    client.max_queued_messages_set(max_queued)
    if broker.username is not None:
        client.username_pw_set(broker.username, credentials.password)
    if credentials.tls is not None:
        client.tls_set_context(credentials.tls)
    if will is not None:
        client.will_set(will.topic, will.payload, qos=1, retain=True)
    client.on_socket_open = _send_at_once
    # With this set, publish() in another thread only wakes the thread that calls loop().
    client.on_socket_register_write = _nothing
    return client


def connection_fault(error: OSError, where: str, *, tls: bool) -> BrokerError:
    """A socket's error as a sentence of ours, the cause attached."""
    words = error.strerror or str(error) or type(error).__name__
    if isinstance(error, ssl.SSLError):
        words = getattr(error, "verify_message", None) or error.reason or words
        fault: BrokerError = BrokerRefused(f"no TLS with {where}: {words}")
    elif tls and isinstance(error, ConnectionResetError):
        fault = BrokerRefused(f"no TLS with {where}: {words}; is that its TLS port?")
    else:
        fault = BrokerUnreachable(f"{where} cannot be reached: {words}")
    fault.__cause__ = error
    return fault


def no_answer(where: str, *, tls: bool) -> BrokerError:
    """The broker took the connection, and ended it before it answered CONNECT.

    With TLS 1.3 that is how a client learns that its certificate is not wanted: its own side of the
    handshake is over before the broker looks (RFC 8446, 4.4.2.4).
    """
    if tls:
        return BrokerRefused(
            f"no TLS with {where}: it ended the connection; it may not want our certificate"
        )
    return BrokerUnreachable(f"{where} ended the connection without an answer; does it want TLS?")


def lacking(reason: Reason, granted: PahoProperties | None, filters: Iterable[str]) -> str | None:
    """What the broker does not have and we cannot do without, to follow its name; or None.

    `reason` and `granted` are of its CONNACK (MQTT 5, 3.2.2.3); what it does not name, it has.
    """

    def without(name: str) -> bool:
        return getattr(granted, name, 1) == 0

    if reason.code in _SAID_NO:
        return _SAID_NO[reason.code]
    if without("RetainAvailable"):
        return _SAID_NO[0x9A]
    if without("MaximumQoS"):
        return _SAID_NO[0x9B]
    for one in filters:
        shared = one.startswith("$share/")
        if shared and without("SharedSubscriptionAvailable"):
            return "has no shared subscriptions, which cloud workers need; turn them on there"
        if (
            not shared
            and {"+", "#"} & set(one.split("/"))
            and (without("WildcardSubscriptionAvailable"))
        ):
            return "allows no + and # in subscriptions, which AI Flow needs; turn them on there"
    return None


def _send_at_once(_client: Client, _userdata: object, opened: object) -> None:
    """Without this, Nagle's algorithm holds small packets back for a round trip."""
    if isinstance(opened, socket.socket):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _nothing(_client: Client, _userdata: object, _opened: object) -> None:
    pass


def _password(broker: Broker) -> str | None:
    if broker.password_file is None:
        return None
    password = first_line(broker.password_file, f"password file {broker.password_file}")
    if password is None:
        raise ConfigError(f"password file {broker.password_file} is empty")
    return password


def _tls_context(broker: Broker) -> ssl.SSLContext | None:
    if broker.ca_file is None:
        return None
    for name in ("ca_file", "cert_file", "key_file"):
        _check_readable(name, getattr(broker, name))
    try:
        context = ssl.create_default_context(cafile=broker.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"ca_file {broker.ca_file} holds no certificate in PEM form") from error
    if broker.cert_file is not None:
        try:
            context.load_cert_chain(broker.cert_file, broker.key_file)
        except OSError as error:
            raise ConfigError(
                f"cert_file {broker.cert_file} and key_file {broker.key_file} are not a certificate"
                f" and its key, both in PEM form"
            ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _check_readable(name: str, path: Path | None) -> None:
    """OpenSSL does not say which file it means."""
    if path is None:
        return
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigError(f"{name} {path} cannot be read: {error.strerror}") from error

"""Does the broker let us in? And until when are the certificates good."""

# ruff: noqa: PLC0415 - cryptography comes with an extra, and only for brokers with TLS

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aiflow.cli.doctor.finding import Finding, failed, ok, warning
from aiflow.cli.doctor.settings import TierSettings
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError, BrokerLacks, BrokerRefused, ConfigError
from aiflow.common.mqtt import Properties, Session
from aiflow.common.mqtt_client import Credentials

CONNECT_S: Final = 5.0
VERSION_S: Final = 1.0
"""How long to wait for a broker that may say its version."""
SOON: Final = dt.timedelta(days=30)
_TIME: Final = "is this clock right? else make the broker a new certificate: aiflow enroll broker"
_NAME: Final = (
    "host of [broker] must be a name in the broker's certificate: aiflow enroll broker --host NAME"
)
_OF_ANOTHER: Final = (
    "ca_file of [broker] must be of the authority that made the broker's certificate; "
    "docs/security.md"
)
_UNVERIFIED: Final = {9: _TIME, 10: _TIME, 62: _NAME, 64: _NAME}
"""By X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH."""
_VERSION_TOPIC: Final = "$SYS/broker/version"


def broker_findings(settings: TierSettings) -> Iterator[Finding]:
    """Certificates first, so that one that has ended is named before it is refused.

    While the daemon runs nobody logs in with its certificate: that would push it off, as its name
    is the client id. Then only the handshake is made.
    """
    broker = settings.broker
    yield from _certificate_findings(broker)
    where = f"{broker.host}:{broker.port}"
    if broker.cert_file is not None and settings.running:
        yield warning(
            "broker",
            f"{where} was not logged in to: the running daemon has this certificate",
            "its own log and status line say whether it is connected",
        )
        return
    try:
        version = _login(broker)
    except AiflowError as error:
        yield failed("broker", str(error), _what_next(error, broker))
    else:
        who = f" as {broker.username}" if broker.username else ""
        yield ok("broker", f"{where} lets us in{who}{version and f'; {version}'}")


def _what_next(error: AiflowError, broker: Broker) -> str:
    match error:
        case ConfigError():
            return "correct [broker], or the file that it names"
        case BrokerLacks():
            return "take a broker with MQTT 5 and all of it turned on, such as Mosquitto 2"
        case BrokerRefused():
            return _after_refusal(error.__cause__, broker)
    if isinstance(error.__cause__, socket.gaierror):
        return "correct host of [broker]: a name that this machine finds, or an address"
    if error.__cause__ is None and broker.ca_file is None:  # it took the connection, and ended it
        return (
            "if it wants TLS: give its port for that, often 8883, and ca_file in [broker]; "
            "docs/security.md"
        )
    return (
        "is it running, and are host and port of [broker] right? A Mosquitto without a "
        "configuration file lets in its own machine only"
    )


def _after_refusal(cause: BaseException | None, broker: Broker) -> str:
    if broker.ca_file is None:
        return "compare username and password_file with the broker's users; its log says more"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _UNVERIFIED.get(cause.verify_code, _OF_ANOTHER)
    if isinstance(cause, ConnectionResetError):
        return "give the port that has TLS, often 8883; where it has none, leave ca_file out"
    if broker.cert_file is None:
        return (
            "it may want a certificate of ours: make one with `aiflow enroll`, and name it in "
            "cert_file and key_file; docs/security.md"
        )
    return "see `aiflow enroll list`, the broker's log, and docs/security.md"


def _login(broker: Broker) -> str:
    """Connect under a name of our own; what the broker says of its version, if anything."""
    said: list[str] = []
    heard = threading.Event()

    def take(_topic: str, payload: bytes, _properties: Properties) -> None:
        said.append(payload.decode(errors="replace")[:60])
        heard.set()

    session = Session(broker, f"{broker.prefix}-doctor-{secrets.token_hex(4)}")
    session.subscribe(_VERSION_TOPIC, 0, take)
    session.start()
    try:
        session.wait_connected(CONNECT_S)
        heard.wait(VERSION_S)
    finally:
        session.close(drain_s=0.0)
    return said[0] if said else ""


def _certificate_findings(broker: Broker) -> Iterator[Finding]:
    if broker.ca_file is None:
        return
    if importlib.util.find_spec("cryptography") is None:
        yield warning(
            "certificate",
            "until when certificates are good was not looked at: cryptography is not installed",
            "pip install 'aiflow-edge[enroll]', and ask again",
        )
        return
    for what, path in (("ca_file", broker.ca_file), ("cert_file", broker.cert_file)):
        if path is not None:
            yield _file_finding(what, path)
    end = _end_of_brokers(broker)
    if end is not None:
        yield _judged("the broker's certificate", end, "make it a new one: aiflow enroll broker")


def _file_finding(what: str, path: Path) -> Finding:
    try:
        return _judged(f"{what} {path}", until_of_file(path), "renew it: aiflow enroll")
    except ConfigError as error:
        return failed("certificate", str(error), f"correct {what} of [broker]")


def until_of_file(path: Path) -> dt.datetime:
    """The first end of the certificates in a PEM file. Raises ConfigError."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM form") from error
    return min(one.not_valid_after_utc for one in found)


def until(der: bytes) -> dt.datetime:
    """The end of one certificate. Raises ValueError if it is none."""
    from cryptography import x509

    return x509.load_der_x509_certificate(der).not_valid_after_utc


def _judged(what: str, end: dt.datetime, what_next: str) -> Finding:
    left = end - dt.datetime.now(dt.UTC)
    seen = f"{what} is good until {end:%Y-%m-%d}"
    if left <= dt.timedelta(0):
        return failed("certificate", f"{what} ended on {end:%Y-%m-%d}", what_next)
    if left < SOON:
        return warning("certificate", f"{seen}, {left.days} days more", what_next)
    return ok("certificate", seen)


def _end_of_brokers(broker: Broker) -> dt.datetime | None:
    """None where no handshake comes about; the login says why."""
    with contextlib.suppress(OSError, ConfigError, ValueError):
        tls = Credentials.read(broker).tls
        with socket.create_connection((broker.host, broker.port), CONNECT_S) as plain:
            wrapped = (tls or ssl.create_default_context()).wrap_socket(
                plain, server_hostname=broker.host
            )
            with wrapped:
                return until(wrapped.getpeercert(binary_form=True) or b"")
    return None

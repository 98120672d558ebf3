"""The configuration of a Mosquitto that admits certificates only, as text. For 2.0.11 and later."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from aiflow.common.messages import MAX_MESSAGE_BYTES
from aiflow.common.mqtt_link import MAX_ALIASES
from aiflow.common.wire import MAX_IMAGE_BYTES

MAX_PACKET_BYTES: Final = MAX_MESSAGE_BYTES + 1024
"""The greatest message that any tier reads, its topic and properties,"""
MAX_PICTURE_PACKET_BYTES: Final = MAX_IMAGE_BYTES + 1024
"""and the same where a device may send pictures."""

AUTHORITY: Final = "ca.crt"
CERTIFICATE: Final = "broker.crt"
KEY: Final = "broker.key"
REVOKED: Final = "crl.pem"
ACCESS: Final = "acl"
OWN_ACCESS: Final = "acl.own"
CONFIGURATION: Final = "mosquitto.conf"


class BrokerFacts(BaseModel):
    """Where the broker is and where it keeps what; `at` and `state` are folders over there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    at: str
    state: str


def with_packet_size(configuration: str, *, pictures: bool) -> str:
    """A mosquitto.conf of ours with the packet size that it takes; a size of the owner's stays."""
    ours = (MAX_PACKET_BYTES, MAX_PICTURE_PACKET_BYTES)
    line = rf"^max_packet_size ({'|'.join(map(str, ours))})$"
    return re.sub(line, f"max_packet_size {ours[pictures]}", configuration, flags=re.MULTILINE)


def configuration(facts: BrokerFacts) -> str:
    """The whole of mosquitto.conf: it replaces one, and includes none."""
    return f"""\
# Written once by `aiflow enroll broker`; yours to change. `aiflow enroll` itself changes one line
# in it, max_packet_size, when devices may send pictures.
# After a change of {ACCESS}, {REVOKED} or a certificate:   sudo systemctl reload mosquitto
# (or kill -HUP). After a change of this file: restart.

# One way in: TLS, and a certificate of our authority that is not revoked.
listener {facts.port}
tls_version tlsv1.2
cafile {facts.at}/{AUTHORITY}
certfile {facts.at}/{CERTIFICATE}
keyfile {facts.at}/{KEY}
crlfile {facts.at}/{REVOKED}
require_certificate true

# Whoever comes is who the certificate says: user name and client id of the CONNECT do not count,
# so nobody can push another client off by taking its client id.
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {facts.at}/{ACCESS}

# Bounds. A client that sends a greater packet is disconnected (reason code 0x95).
max_packet_size {MAX_PACKET_BYTES}
max_connections 1000
max_inflight_messages 20
max_queued_messages 1000
max_queued_bytes 16777216
max_topic_alias {MAX_ALIASES}
persistent_client_expiration 14d
set_tcp_nodelay true

# Retained states survive a restart of the broker.
persistence true
persistence_location {facts.state.rstrip("/")}/
autosave_interval 60

log_dest stderr
log_type error
log_type warning
log_type notice
"""

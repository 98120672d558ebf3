"""The configuration of a Mosquitto that admits certificates only, as text: for 2.0 and for 2.1.

Mosquitto 2.1 has `acl_file` as a plugin and deprecates the option, which 3.0 will not have
(https://mosquitto.org/blog/2026/01/version-2-1-0-released); 2.0 has no such plugin.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from aiflow.common.errors import ConfigError
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

Version = Literal["2.0", "2.1"]
"""Of Mosquitto: from there on."""

_ACCESS: Final = "read|write|readwrite|deny"
_RULE: Final = re.compile(
    rf"(#.*|user \S.*|(topic|pattern) ((?!({_ACCESS})$)\S+|({_ACCESS}) \S.*))?"
)


class BrokerFacts(BaseModel):
    """Where the broker is and where it keeps what; `at` and `state` are folders over there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    hosts: tuple[str, ...] = Field(min_length=1)
    port: int = Field(ge=1, le=65_535)
    at: str
    state: str


def check_rules(text: str, name: str) -> None:
    """Raise ConfigError for the first line that is no rule: Mosquitto 2.1 would stop at it."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _RULE.fullmatch(line.strip()) is None:
            raise ConfigError(
                f"line {number} of {name} is no rule of Mosquitto's: write 'user NAME', 'topic "
                "read TOPIC' (or write, readwrite, deny) or 'pattern read TOPIC', or '#' before it"
            )


def with_packet_size(configuration: str, *, pictures: bool) -> str:
    """A mosquitto.conf of ours with the packet size that it takes; a size of the owner's stays."""
    ours = (MAX_PACKET_BYTES, MAX_PICTURE_PACKET_BYTES)
    line = rf"^max_packet_size ({'|'.join(map(str, ours))})$"
    return re.sub(line, f"max_packet_size {ours[pictures]}", configuration, flags=re.MULTILINE)


def configuration(facts: BrokerFacts, version: Version) -> str:
    """The whole of mosquitto.conf: it replaces one, and includes none."""
    access = f"acl_file {facts.at}/{ACCESS}"
    if version == "2.1":
        # A name without a folder: where it is, is known to the system's loader.
        access = f"global_plugin mosquitto_acl_file.so\nplugin_opt_{access}"
    return f"""\
# Written once by `aiflow enroll broker`; yours to change. `aiflow enroll` itself changes one line
# in it, max_packet_size, when devices may send pictures.
# After a change of {ACCESS}, {REVOKED} or a certificate:   sudo systemctl reload mosquitto
# (or kill -HUP). After a change of this file: restart. Mosquitto 2.1 stops at a rule or a line that
# is none; before you reload or restart it: mosquitto --test-config -c FILE

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
{access}

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

"""A broker's address as people write it on a command line: mqtt://[user@]host[:port]."""

from __future__ import annotations

import urllib.parse
from typing import Final

from aiflow.common.config import Broker
from aiflow.common.errors import ConfigError

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


def broker_settings(url: str) -> dict[str, str | int]:
    """Host, port and user name from `url`, by the names of the section `[broker]`.

    Raises ConfigError if `url` is no such address, or carries what does not belong on a command
    line, where every user of the machine can read it. Nothing of it is shown: whatever is wrong
    with it, there may be a password in it.
    """
    try:
        parts = urllib.parse.urlsplit(url if "://" in url else f"mqtt://{url}")
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # a port out of range or no number, half a pair of brackets
        parts, port = urllib.parse.urlsplit(""), None
    if parts.password is not None:
        raise ConfigError(
            "a password in an address can be read by others; write it into a file"
            " and name that in AIFLOW_BROKER__PASSWORD_FILE"
        )
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    if beyond or port is None or not parts.hostname:
        raise ConfigError("that is no broker's address; write it like mqtt://user@host:1883")
    known: dict[str, str | int] = {"host": parts.hostname, "port": port}
    if parts.username:
        known["username"] = urllib.parse.unquote(parts.username)
    return known


def require_trust(url: str, broker: Broker) -> None:
    """Raises ConfigError where `url` asks for TLS, and no source said whom to trust."""
    if url.startswith("mqtts://") and broker.ca_file is None:
        raise ConfigError(
            f"the broker at {broker.host}:{broker.port} speaks TLS; name the certificate to trust"
            " in AIFLOW_BROKER__CA_FILE"
        )

"""A broker's address as people write it on a command line: mqtt://[user@]host[:port]."""

from __future__ import annotations

import urllib.parse
from typing import Final

from aiflow.common.config import Broker
from aiflow.common.errors import ConfigError

_PORTS: Final = {"mqtt": 1883, "mqtts": 8883}


def with_address(broker: Broker, url: str) -> Broker:
    """`broker` with host, port and user name from `url`; the rest of it is kept.

    Raises ConfigError if `url` is no such address, or carries what does not belong on a command
    line, where every user of the machine can read it.
    """
    parts = urllib.parse.urlsplit(url if "://" in url else f"mqtt://{url}")
    if parts.password is not None:
        raise ConfigError(
            "a password in an address can be read by others; write it into a file"
            " and name that in AIFLOW_BROKER__PASSWORD_FILE"
        )
    if parts.scheme == "mqtts" and broker.ca_file is None:
        raise ConfigError(
            f"broker {url!r} speaks TLS; name the certificate to trust in AIFLOW_BROKER__CA_FILE"
        )
    port = _port(parts)
    if parts.path.strip("/") or parts.query or port is None or not parts.hostname:
        raise ConfigError(f"broker {url!r} is not an address; write it like mqtt://user@host:1883")
    known = {"host": parts.hostname, "port": port}
    if parts.username:
        known["username"] = urllib.parse.unquote(parts.username)
    return broker.model_copy(update=known)


def _port(parts: urllib.parse.SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # out of range, or no number
        return None

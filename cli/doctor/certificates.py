"""Until when certificates are good. TLS itself judges them; this is for people."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from cryptography import x509

from aiflow.common.errors import ConfigError


def until_of_file(path: Path) -> dt.datetime:
    """The first end of the certificates in a PEM file. Raises ConfigError."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} holds no certificate in PEM form") from error
    return min(one.not_valid_after_utc for one in found)


def until(der: bytes) -> dt.datetime:
    """The end of one certificate. Raises ValueError if it is none."""
    return x509.load_der_x509_certificate(der).not_valid_after_utc

"""Until when certificates are good, without a library for it: the dates alone are read.

    Certificate ::= SEQUENCE { tbsCertificate SEQUENCE {
        [0] version OPTIONAL, serialNumber, signature, issuer, validity SEQUENCE { from, until } ...

(RFC 5280, 4.1, in DER, X.690.) TLS itself has judged the certificate; this is for people.
"""

from __future__ import annotations

import datetime as dt
import re
import ssl
from pathlib import Path
from typing import Final

from aiflow.common.errors import ConfigError

_VERSION: Final = b"\xa0"
_UTC_TIME: Final = 0x17
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


def until_of_file(path: Path) -> dt.datetime:
    """The first end of the certificates in a PEM file. Raises ConfigError."""
    try:
        blocks = _PEM.findall(path.read_text(encoding="ascii", errors="replace"))
        return min(until(ssl.PEM_cert_to_DER_cert(block)) for block in blocks)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # no block, no base64, no date
        raise ConfigError(f"{path} holds no certificate in PEM form") from error


def until(der: bytes) -> dt.datetime:
    """The end of one certificate. Raises ValueError if it is none."""
    _, certificate, _ = _element(der)
    _, rest, _ = _element(certificate)
    for _ in range(4 if rest[:1] == _VERSION else 3):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest)
    _, _, rest = _element(validity)
    tag, text, _ = _element(rest)
    # UTCTime has two digits for the year; those from 50 on are of the last century.
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return dt.datetime.strptime(text.decode("ascii"), form).replace(tzinfo=dt.UTC)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content, and what follows the element."""
    if len(data) < 2:
        raise ValueError("the certificate ends before it should")
    length, start = data[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("the certificate ends before it should")
    return data[0], data[start : start + length], data[start + length :]

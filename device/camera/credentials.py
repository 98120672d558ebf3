"""Who asks a camera over HTTP: Basic (RFC 7617) and Digest (RFC 7616, 2617) of its challenge."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final
from urllib.request import parse_http_list, parse_keqv_list

_HASHES: Final = {"": "md5", "MD5": "md5", "SHA-256": "sha256"}


class HttpCredentials:
    """One user's, for one server; keeps the last challenge, so that each request is asked once."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._scheme = ""
        self._fields: dict[str, str] = {}
        self._count = 0

    def challenged(self, challenges: Sequence[str]) -> bool:
        """Take in the fields WWW-Authenticate of an answer; whether one can be met."""
        for wanted in ("digest", "basic"):
            for challenge in challenges:
                scheme, _, rest = challenge.strip().partition(" ")
                fields = parse_keqv_list([one for one in parse_http_list(rest) if "=" in one])
                known = fields.get("algorithm", "").upper().removesuffix("-SESS") in _HASHES
                if scheme.lower() == wanted and (wanted == "basic" or known):
                    self._scheme, self._fields, self._count = wanted, fields, 0
                    return True
        return False

    def header(self, method: str, target: str) -> str | None:
        """What goes into Authorization; None before there was a challenge."""
        if self._scheme == "basic":
            plain = f"{self._user}:{self._password}".encode()
            return f"Basic {base64.b64encode(plain).decode()}"
        return self._digest(method, target) if self._scheme == "digest" else None

    def _digest(self, method: str, target: str) -> str:
        fields, realm = self._fields, self._fields.get("realm", "")
        nonce, algorithm = fields.get("nonce", ""), fields.get("algorithm", "")
        kind = algorithm.upper()
        self._count += 1
        count, own = f"{self._count:08x}", secrets.token_hex(8)

        def digest(*words: str) -> str:
            name = _HASHES[kind.removesuffix("-SESS")]
            return hashlib.new(name, ":".join(words).encode()).hexdigest()

        secret = digest(self._user, realm, self._password)
        if kind.endswith("-SESS"):
            secret = digest(secret, nonce, own)
        request = digest(method, target)
        quoted = {"username": self._user, "realm": realm, "nonce": nonce, "uri": target}
        plain = {"algorithm": algorithm} if algorithm else {}
        if "auth" in [one.strip() for one in fields.get("qop", "").split(",")]:
            answer = digest(secret, nonce, count, own, "auth", request)
            quoted["cnonce"] = own
            plain |= {"qop": "auth", "nc": count}
        else:
            answer = digest(secret, nonce, request)
        quoted["response"] = answer
        if "opaque" in fields:
            quoted["opaque"] = fields["opaque"]
        said = [f'{name}="{value}"' for name, value in quoted.items()]
        return "Digest " + ", ".join(said + [f"{name}={value}" for name, value in plain.items()])

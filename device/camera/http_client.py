"""Asks one URL again and again: one connection that is kept, redirects, credentials."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from aiflow.common.errors import CameraError
from aiflow.device.camera.credentials import HttpCredentials

MAX_REDIRECTS: Final = 5
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_SAFE: Final = "/?&=%:;,+$!*'()~@-._[]|"

Fault = (OSError, http.client.HTTPException, ValueError)
"""What a server that is away, or talks nonsense, leads to. Its text may hold the URL."""


class HttpClient:
    """Used by one thread."""

    def __init__(self, url: str, name: str, timeout_s: float) -> None:
        """`name` is what errors call it. A silence of `timeout_s` is a fault."""
        self.name = name
        self._timeout_s = timeout_s
        parts = urlsplit(url)
        self._credentials: HttpCredentials | None = None
        if parts.username is not None:
            self._credentials = HttpCredentials(
                unquote(parts.username), unquote(parts.password or "")
            )
        self._url = url
        self._server: tuple[str, str | None, int | None] | None = None
        self._connection: http.client.HTTPConnection | None = None

    def get(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """The answer, its body unread. Raises `Fault`, and CameraError for endless redirects."""
        url, own = self._url, True
        for _ in range(MAX_REDIRECTS + 1):
            response = self._asked(url, headers, own=own)
            if response.status not in REDIRECTS or "Location" not in response.headers:
                return response
            origin = urlsplit(url)
            url = urljoin(url, response.headers["Location"])
            there = urlsplit(url)
            if there.scheme not in {"http", "https"}:
                raise CameraError(f"{self.name} leads to something that is not HTTP")
            # A password is for nobody else.
            own = own and (there.hostname, there.port) == (origin.hostname, origin.port)
            self.close()
        raise CameraError(f"{self.name} leads from one address to the next")

    def close(self) -> None:
        """End the connection; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _asked(
        self, url: str, headers: Mapping[str, str], *, own: bool
    ) -> http.client.HTTPResponse:
        """With credentials, once the server has asked for them, if it is the camera's `own`."""
        parts = urlsplit(url)
        target = quote(parts.path or "/", _SAFE) + ("?" + quote(parts.query, _SAFE)) * bool(
            parts.query
        )
        server = (parts.scheme.lower(), parts.hostname, parts.port)
        credentials = self._credentials if own else None
        response = self._sent(server, target, headers, credentials)
        if response.status != http.client.UNAUTHORIZED or credentials is None:
            return response
        if not credentials.challenged(response.headers.get_all("WWW-Authenticate", [])):
            return response
        response.read(65_536)
        if not response.isclosed():
            self.close()
        return self._sent(server, target, headers, credentials)

    def _sent(
        self,
        server: tuple[str, str | None, int | None],
        target: str,
        headers: Mapping[str, str],
        credentials: HttpCredentials | None,
    ) -> http.client.HTTPResponse:
        """A kept connection that the server has ended meanwhile is opened anew, once."""
        kept = self._connection is not None and self._connection.sock is not None
        try:
            return self._sent_once(server, target, headers, credentials)
        except (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest):
            self.close()
            if not kept:
                raise
            return self._sent_once(server, target, headers, credentials)
        except BaseException:
            self.close()
            raise

    def _sent_once(
        self,
        server: tuple[str, str | None, int | None],
        target: str,
        headers: Mapping[str, str],
        credentials: HttpCredentials | None,
    ) -> http.client.HTTPResponse:
        if self._connection is None or self._server != server:
            self.close()
            self._connection, self._server = self._connected(*server), server
        said = credentials.header("GET", target) if credentials is not None else None
        authorization = {"Authorization": said} if said is not None else {}
        self._connection.request("GET", target, headers={**headers, **authorization})
        return self._connection.getresponse()

    def _connected(
        self, scheme: str, host: str | None, port: int | None
    ) -> http.client.HTTPConnection:
        """Certificates of cameras are their own; as with FFmpeg, they are not checked."""
        if scheme == "http":
            return http.client.HTTPConnection(host or "", port, timeout=self._timeout_s)
        import ssl  # noqa: PLC0415 - large, and most cameras speak plain HTTP

        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(
            host or "", port, timeout=self._timeout_s, context=context
        )

"""Who may see the page, as ASGI middleware; and the headers that every answer carries.

With a token: HTTP Basic authentication, the token being the password (any user name), or
`Authorization: Bearer TOKEN` for programs. Browsers ask for it by themselves and send it with the
stream of events as well, so there is neither a page to sign in nor a cookie.

Without one we listen on loopback alone, and answer only requests that call us by a loopback name:
else a web page from anywhere could have its own name point here and read on (DNS rebinding).
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aiflow.edge.dashboard.config import is_loopback

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Access:
    """Lets through who has the token; without one, who calls us by a name of this machine."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        app: ASGIApp = self._app
        if self._token is None:
            if not is_loopback(_host(headers.get("host", ""))):
                app = PlainTextResponse(
                    "Call this page by 127.0.0.1 or localhost, or set a token_file.\n", 421
                )
        elif not _knows(self._token, headers.get("authorization", "")):
            app = PlainTextResponse(
                "The password is the token of this edge node's dashboard.\n",
                401,
                {"WWW-Authenticate": 'Basic realm="AI Flow", charset="UTF-8"'},
            )
        await app(scope, receive, send_with_headers)


def _host(header: str) -> str:
    """A Host header without its port: `[::1]:8460` is `::1`."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _knows(token: str, authorization: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())

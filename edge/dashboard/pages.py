"""The HTTP side: the page's files, pictures of synthetic cameras, and the stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from aiflow.edge.dashboard.access import Access
from aiflow.edge.dashboard.hub import Client, Hub
from aiflow.edge.dashboard.pictures import Pictures

KINDS: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def application(
    hub: Hub,
    everything: Callable[[], bytes],
    pictures: Pictures | None,
    token: str | None,
) -> Starlette:
    """`everything` makes the message with which a browser begins, a whole event."""

    async def events(_request: Request) -> Response:
        client = hub.join()
        if client is None:
            return PlainTextResponse("Too many browsers look at this page.\n", 503)
        return StreamingResponse(_stream(hub, client, everything), media_type="text/event-stream")

    async def picture(request: Request) -> Response:
        path = None if pictures is None else pictures.at(request.path_params["timestamp_ms"])
        try:
            content = b"" if path is None else path.read_bytes()
        except OSError:  # removed in between
            content = b""
        if not content:
            return PlainTextResponse("There is no such picture, or no longer.\n", 404)
        return Response(content, media_type="image/jpeg")

    routes = [_file(file) for file in (files("aiflow.edge.dashboard") / "page").iterdir()]
    routes += [Route("/events", events), Route("/picture/{timestamp_ms:int}.jpg", picture)]
    return Starlette(routes=routes, middleware=[Middleware(Access, token=token)])


def _file(file: Traversable) -> Route:
    content, kind = file.read_bytes(), KINDS[PurePath(file.name).suffix]

    async def answer(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route("/" if file.name == "index.html" else f"/{file.name}", answer)


async def _stream(
    hub: Hub, client: Client, everything: Callable[[], bytes]
) -> AsyncIterator[bytes]:
    try:
        yield b"retry: 1000\n\n"
        while (message := await client.next()) is not None:
            yield message or everything()
    finally:
        hub.leave(client)

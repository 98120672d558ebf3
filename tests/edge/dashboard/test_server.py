"""The dashboard's server by real HTTP on loopback."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aiflow.common.messages import Caption, Descriptor
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties
from aiflow.common.topics import Topics
from aiflow.edge.dashboard import feed
from aiflow.edge.dashboard.config import DashboardConfig
from aiflow.edge.dashboard.feed import MAX_INBOX
from aiflow.edge.dashboard.hub import MAX_CLIENTS, MAX_QUEUED
from aiflow.edge.dashboard.server import Dashboard

MakeCaption = Callable[..., Caption]
TOKEN = "0123456789abcdef"
PATIENCE_S = 30.0


class Page:
    """A dashboard that is fed by hand."""

    def __init__(self, token: str | None = None, silent_s: float = 60.0, **settings: Any) -> None:
        self.counters = Counters()
        self.connected = True
        self.dashboard = Dashboard(
            DashboardConfig(enabled=True, port=0, **settings),
            token,
            "edge1",
            Topics(),
            lambda: self.connected,
            self.counters,
            silent_s,
        )
        self.port = int(self.dashboard.url.rpartition(":")[2])

    def hear(self, *captions: Caption) -> None:
        for caption in captions:
            topic = f"aiflow/{caption.device}/{caption.camera}/event"
            self.dashboard.heard(topic, caption.to_json(), Properties())

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def events(self, **headers: str) -> Events:
        return Events(self.get("/events", **headers))


class Events:
    """One browser's stream."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        assert response.status == 200
        assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
        self.response = response

    def next(self) -> tuple[str, dict[str, Any]]:
        name = ""
        while True:
            line = self.response.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return name, json.loads(line.removeprefix("data: "))
            else:
                assert line == "" or line.startswith("retry: ")

    def until(self, wanted: str) -> dict[str, Any]:
        while True:
            name, content = self.next()
            if name == wanted:
                return content


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    before = set(threading.enumerate())
    with ExitStack() as stack:
        yield stack
    assert set(threading.enumerate()) <= before


@pytest.fixture
def page(stack: ExitStack) -> Page:
    return opened(stack)


def opened(stack: ExitStack, **settings: Any) -> Page:
    page = Page(**settings)
    stack.enter_context(page.dashboard)
    return page


def test_the_page_is_served_whole_and_guarded(page: Page) -> None:
    start = page.get("/")
    html = start.read().decode()
    assert start.status == 200
    assert "AI Flow" in html
    policy = start.getheader("content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert start.getheader("x-content-type-options") == "nosniff"
    for name in ("style.css", "app.js", "lines.js", "panels.js", "stream.js", "words.js"):
        file = page.get(f"/{name}")
        assert (file.status, bool(file.read())) == (200, True), name
    assert "http://" not in html
    assert "https://" not in html
    assert page.get("/../../config.py").status == 404
    assert page.get("/nothing").getheader("content-security-policy") == policy


def test_a_browser_gets_everything_and_then_what_is_new(page: Page, caption: MakeCaption) -> None:
    page.hear(caption(1))
    events = page.events()
    name, hello = events.next()
    assert (name, hello["node"]) == ("hello", "edge1")
    if not hello["lines"]:  # heard, and not yet taken
        assert events.until("lines")["lines"][0]["id"] == "pi/door/1-1"
    page.hear(caption(2))
    assert [line["id"] for line in events.until("lines")["lines"]] == ["pi/door/1-2"]
    page.hear(caption(1, "a white dog", tier="cloud", update=True))
    (line,) = events.until("lines")["lines"]
    assert (line["id"], line["text"]) == ("pi/door/1-1", "a white dog")
    while events.until("state")["shares"]["tiers"] != {"cloud": 1, "edge": 1}:
        pass
    later = page.events()
    assert [line["text"] for line in later.next()[1]["lines"]] == ["a white dog", "a red bus waits"]


def test_a_lost_broker_is_told(page: Page) -> None:
    events = page.events()
    assert events.next()[1]["state"]["connected"] is True
    page.connected = False
    while events.until("state")["connected"]:
        pass


def test_a_burst_travels_together(page: Page, caption: MakeCaption) -> None:
    events = page.events()
    events.next()
    page.hear(*(caption(n) for n in range(400)))
    messages = seen = 0
    while seen < 400:
        seen += len(events.until("lines")["lines"])
        messages += 1
    assert messages <= 40


def test_what_is_heard_before_the_start_is_bounded(stack: ExitStack, caption: MakeCaption) -> None:
    page = Page()
    page.hear(*(caption(n) for n in range(MAX_INBOX + 7)))
    assert page.counters.value("aiflow_dashboard_dropped_total") == 7
    stack.enter_context(page.dashboard)
    events = page.events()
    while events.until("state")["figures"]["total"]["frames"] != MAX_INBOX:
        pass


def test_a_slow_browser_is_given_everything_anew(
    page: Page, caption: MakeCaption, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAUSE_S", 0.01)
    # It reads nothing while more than the kernel buffers, and then more than its queue, has come.
    slow = socket.create_connection(("127.0.0.1", page.port))
    slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    quick = page.events()
    wait_for(lambda: len(page.dashboard._hub.clients) == 2)
    text = "x" * 900
    number = 0
    deadline = time.monotonic() + PATIENCE_S
    assert quick.next()[0] == "hello"
    while not any(one._anew for one in page.dashboard._hub.clients):
        assert time.monotonic() < deadline
        page.hear(*(caption(number + n, text) for n in range(200)))
        number += 200
        quick.until("lines")
        assert all(len(one._queue) <= MAX_QUEUED for one in page.dashboard._hub.clients)
    slow.settimeout(PATIENCE_S)
    heard = b""
    while heard.count(b"event: hello") < 2:
        heard += slow.recv(1 << 20)
    slow.close()


def wait_for(find: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while not (found := find()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def test_a_browser_that_takes_nothing_is_let_go(stack: ExitStack, caption: MakeCaption) -> None:
    page = opened(stack, silent_s=1.0)
    dead = socket.create_connection(("127.0.0.1", page.port))
    dead.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: page.dashboard._hub.clients)
    number = 0
    deadline = time.monotonic() + PATIENCE_S
    while page.dashboard._hub.clients:
        assert time.monotonic() < deadline
        page.hear(*(caption(number + n, "x" * 900) for n in range(100)))
        number += 100
        time.sleep(0.1)
    dead.close()


def test_a_browser_that_leaves_is_forgotten(page: Page) -> None:
    events = page.events()
    events.next()
    wait_for(lambda: page.dashboard._hub.clients)
    events.response.close()
    wait_for(lambda: not page.dashboard._hub.clients)


def test_browsers_are_bounded(page: Page) -> None:
    watching = [page.events() for _ in range(MAX_CLIENTS)]
    assert page.get("/events").status == 503
    watching[0].response.close()
    wait_for(lambda: len(page.dashboard._hub.clients) < MAX_CLIENTS)
    page.events().next()


def test_streams_end_with_the_dashboard(stack: ExitStack) -> None:
    page = opened(stack)
    events = page.events()
    events.next()
    began = time.monotonic()
    page.dashboard.close()
    while events.response.readline():
        pass
    assert time.monotonic() - began < 5.0
    with pytest.raises(ConnectionRefusedError):
        page.get("/")


def test_it_may_end_before_it_has_begun() -> None:
    page = Page()
    page.dashboard.start()
    page.dashboard.close()
    assert not page.dashboard._thread.is_alive()


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_without_the_token_nothing_is_told(stack: ExitStack) -> None:
    page = opened(stack, token=TOKEN)
    for path in ("/", "/app.js", "/events", "/picture/1.jpg", "/nothing"):
        for headers in (
            {},
            {"Authorization": basic("wrong-wrong-wrong")},
            {"Authorization": basic("")},
            {"Authorization": "Basic !!!"},
            {"Authorization": f"Digest {TOKEN}"},
            {"Authorization": "Bearer " + TOKEN[:-1]},
        ):
            answer = page.get(path, **headers)
            assert answer.status == 401, (path, headers)
            assert (answer.getheader("www-authenticate") or "").startswith("Basic realm=")
            assert TOKEN.encode() not in answer.read()


def test_with_the_token_everything_is_told(stack: ExitStack) -> None:
    page = opened(stack, token=TOKEN)
    assert page.get("/", Authorization=basic(TOKEN)).status == 200
    assert page.get("/app.js", Authorization=f"Bearer {TOKEN}").status == 200
    assert page.get("/", Authorization=basic(TOKEN), Host="edge.home:8460").status == 200
    assert page.events(Authorization=basic(TOKEN)).next()[0] == "hello"


@pytest.mark.parametrize(
    "host, status",
    [
        ("localhost:8460", 200),
        ("127.0.0.1", 200),
        ("[::1]:8460", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8460", 421),
        ("", 421),
    ],
)
def test_without_a_token_only_names_of_this_machine_are_answered(
    page: Page, host: str, status: int
) -> None:
    assert page.get("/events" if status != 200 else "/", Host=host).status == status


def test_pictures_come_from_the_folder_alone(stack: ExitStack, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    page = opened(stack, pictures=folder)
    assert page.get("/picture/1000250.jpg").status == 404
    folder.mkdir()
    (folder / "1000250.jpg").write_bytes(b"\xff\xd8 a street")
    (tmp_path / "7.jpg").write_bytes(b"another")
    near = page.get("/picture/1000251.jpg")  # clocks on the wire are whole milliseconds
    assert (near.status, near.read()) == (200, b"\xff\xd8 a street")
    assert near.getheader("content-type") == "image/jpeg"
    for path in ("/picture/..%2F7.jpg", "/picture/-7.jpg", "/picture/1000260.jpg", "/picture/x"):
        assert page.get(path).status == 404


def test_a_picture_belongs_to_its_line(
    stack: ExitStack, tmp_path: Path, caption: MakeCaption
) -> None:
    page = opened(stack, pictures=tmp_path)
    (tmp_path / "1001000.jpg").write_bytes(b"j" * 31_204)
    descriptor = Descriptor(
        device="pi",
        camera="door",
        bundle="0" * 64,
        bundle_name="toy",
        tokens=1,
        dims=1,
        levels=(5,),
        layers=(1,),
        epoch_ms=0,
        width=640,
        height=480,
        synthetic=True,
        software="test",
    )
    events = page.events()
    page.dashboard.heard("aiflow/pi/door/descriptor", descriptor.to_json(), Properties())
    page.hear(caption(1))
    (line,) = events.until("lines")["lines"]
    assert (line["picture"], line["jpeg"]) == (True, 31_204)


def test_a_port_in_use_is_an_error_of_its_own(page: Page) -> None:
    with pytest.raises(OSError, match="in use"):
        Dashboard(
            DashboardConfig(enabled=True, port=page.port),
            None,
            "edge1",
            Topics(),
            lambda: True,
            Counters(),
        )

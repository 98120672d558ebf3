"""A headless Chromium before the page of a real edge node, fed through a real Mosquitto.

Skipped where one of them is missing; `scripts/browser-check` installs both and runs these tests.
"""

from __future__ import annotations

import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from aiflow.common import toml
from aiflow.common.bundle import built_in
from aiflow.common.config import Broker
from aiflow.common.messages import Caption, CaptionBytes, Descriptor, Latency
from aiflow.common.mqtt import Outgoing, Session
from aiflow.common.topics import Topics
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.tiers import tier_process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

PATIENCE_S = 30.0
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs the extra browser; see scripts/browser-check"
    )
    if CHROMIUM is None:
        pytest.skip("needs Chromium; see scripts/browser-check")
    if "street" not in built_in():
        pytest.skip("needs the built-in bundle `street`; make it with scripts/train")
    with playwright.sync_playwright() as driver:
        # Its own sandbox needs user namespaces, which containers lack; the page is ours.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(PATIENCE_S * 1e3)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab; whatever it says on its console is kept in `said`."""
    return context.new_page()


class Said:
    """What a tab has complained of: its console and errors, and requests that failed."""

    def __init__(self, page: Page) -> None:
        self.complaints: list[str] = []
        page.on("console", self._message)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@pytest.fixture
def said(page: Page) -> Said:
    return Said(page)


class Site:
    """Broker, edge node with its page, and a device `pi` that we speak for."""

    def __init__(self, folder: Path) -> None:
        self.topics = Topics()
        self.broker = PrivateBroker()
        self.broker.start()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        settings: dict[str, toml.Value] = {
            "node": "attic",
            "ledger": folder / "ledger.sqlite",
            "broker": {"port": self.broker.port},
            "dashboard": {"enabled": True, "port": port},
        }
        self.edge = tier_process("edge", toml.text(settings), folder)
        self.edge.start()
        self.session = Session(Broker(port=self.broker.port), f"pi-{secrets.token_hex(4)}")
        self.session.start()
        self.session.wait_connected(PATIENCE_S)
        self.wait_for_page()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.edge.stop()
        self.broker.close()

    def wait_for_page(self) -> None:
        port = int(self.url.rstrip("/").rpartition(":")[2])

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, "\n".join(self.edge.last_lines(10)))

    def appear(self, *cameras: str) -> None:
        """The device and its cameras say that they are there."""
        self.session.announce(self.topics.available("pi"), b"online")
        for camera in cameras:
            descriptor = Descriptor(
                device="pi",
                camera=camera,
                bundle="0" * 64,
                bundle_name="toy",
                tokens=1,
                dims=1,
                levels=(5,),
                layers=(1,),
                epoch_ms=0,
                width=640,
                height=480,
                software="test",
            )
            self.session.announce(self.topics.descriptor("pi", camera), descriptor.to_json())
            self.session.announce(self.topics.status("pi", camera), b"online")

    def say(
        self,
        number: int,
        text: str,
        *,
        camera: str = "door",
        update: bool = False,
        trigger: str | None = None,
        qos: int = 1,
    ) -> None:
        """A caption by the edge, or its refinement by the cloud, or that it has fired a trigger."""
        caption = Caption(
            id=f"pi/{camera}/1-{number}",
            device="pi",
            camera=camera,
            timestamp=round(time.time(), 3),
            type="trigger" if trigger else "update" if update else "new",
            trigger=trigger,
            text=text,
            confidence=0.97 if update else 0.61,
            tier="cloud" if update else "edge",
            mode="cascade" if update else "split",
            bytes=CaptionBytes(embedding=20, uplink=34),
            latency_s=Latency(queue=0.001, decode=0.008, total=0.021),
            bundle="0" * 64,
            late=False,
            sequence=number,
        )
        topic = self.topics.event("pi", camera)
        assert self.session.publish(Outgoing(topic, caption.to_json(), qos=qos))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(0.02)


@pytest.fixture
def site(browser: Browser, tmp_path: Path) -> Iterator[Site]:
    """After `browser`, so that nothing is put up where that is missing."""
    with Site(tmp_path) as site:
        yield site

"""A whole system on this machine: put up together and taken down together.

    camera -> device --- link (counted) --- broker --- edge, cloud       each its own process
                                               `--- captions, in this process

The device's camera is switched on once device and edge are there, so that latencies are those of
captions and not of Python starting.
"""

from __future__ import annotations

import secrets
import signal
import socket
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiflow.client import Captions
from aiflow.common.config import Broker
from aiflow.common.errors import ConfigError
from aiflow.common.mqtt import Outgoing, Properties, Session
from aiflow.common.topics import Topics
from aiflow.rig.broker import PrivateBroker
from aiflow.rig.child import Child, check_all, stop_all
from aiflow.rig.link import EmulatedLink, LinkSpec
from aiflow.rig.tiers import DemoMode, Plan, tier_processes
from aiflow.rig.truth import TruthFile

SYNTHETIC: Final = "synthetic:"
CONNECT_S: Final = 5.0
DASHBOARD_PORT: Final = 8460


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """What the system is made of. `broker` None: a private one."""

    camera: str
    fps: float
    seed: int
    bundle: str | None = None
    mode: DemoMode = "auto"
    broker: Broker | None = None
    link: LinkSpec | None = None
    log_level: str = "info"


@dataclass(frozen=True, slots=True)
class System:
    """What is running."""

    plan: Plan
    link: EmulatedLink
    captions: Captions
    children: tuple[Child, ...]
    truth: TruthFile | None
    route: str
    """The path of a frame in words, for people."""
    switch: CameraSwitch

    def check(self) -> None:
        """Raise AiflowError, with the end of its log, if one of the processes has ended."""
        check_all(self.children)


class CameraSwitch:
    """Switches the camera; on by itself when the device and the edge node have both come."""

    def __init__(self, session: Session, topics: Topics, plan: Plan) -> None:
        self._session = session
        self._topic = topics.enabled_set(plan.device, plan.camera)
        self._awaited = {
            topics.status(plan.device, plan.camera): b"disabled",
            topics.edge_available(plan.node): b"online",
        }
        for topic in tuple(self._awaited):
            session.subscribe(topic, 1, self._arrived)

    def turn(self, state: str) -> None:
        """Switch the camera `ON` or `OFF`."""
        self._session.publish(Outgoing(self._topic, state.encode(), qos=1))

    def _arrived(self, topic: str, payload: bytes, _properties: Properties) -> None:
        if payload == self._awaited.get(topic):
            del self._awaited[topic]
            if not self._awaited:
                self.turn("ON")


@contextmanager
def running(options: SystemOptions) -> Iterator[System]:
    """Put everything up; take it down at the end, whatever happens. Raises AiflowError."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiflow-rig-")))
        broker, children = _broker(options, stack)
        link = stack.enter_context(EmulatedLink(broker.host, broker.port, options.link))
        plan = _plan(options, broker, link, folder)
        tiers = tier_processes(plan, folder)
        topics = Topics(broker.prefix)
        session = Session(broker, f"aiflow-rig-{secrets.token_hex(4)}")
        stack.callback(session.close)
        switch = CameraSwitch(session, topics, plan)
        session.start()
        session.wait_connected(CONNECT_S)
        captions = stack.enter_context(Captions(broker, device=plan.device, camera=plan.camera))
        if options.broker is not None:
            stack.callback(_clear_retained, session, topics, plan)
        stack.callback(_take_down, list(tiers.values()))
        for child in tiers.values():
            child.start()
        yield System(
            plan=plan,
            link=link,
            captions=captions,
            children=(*children, *tiers.values()),
            truth=TruthFile(_truth_path(folder)) if plan.uri.startswith(SYNTHETIC) else None,
            route=f"{_route(options, broker, plan)}        dashboard {plan.dashboard_url}",
            switch=switch,
        )


def _broker(options: SystemOptions, stack: ExitStack) -> tuple[Broker, tuple[Child, ...]]:
    if options.broker is None:
        private = stack.enter_context(PrivateBroker())
        return Broker(host=private.host, port=private.port), (private.child,)
    if options.broker.ca_file is not None:
        raise ConfigError(
            "the demo counts bytes on their way to the broker, which TLS does not allow;"
            " use a listener without TLS, or none of yours"
        )
    return options.broker, ()


def _plan(options: SystemOptions, broker: Broker, link: EmulatedLink, folder: Path) -> Plan:
    # On a broker of others, names that nobody else has.
    name = "demo" if options.broker is None else f"demo-{secrets.token_hex(3)}"
    return Plan(
        broker=broker,
        device_broker=broker.model_copy(update={"host": "127.0.0.1", "port": link.port}),
        uri=_uri(options, folder),
        fps=options.fps,
        bundle=options.bundle,
        mode=options.mode,
        device=name,
        node=name,
        pool=name,
        camera_enabled=False,
        log_level=options.log_level,
        dashboard_port=_page_port(),
        pictures=_pictures_path(folder) if options.camera.startswith(SYNTHETIC) else None,
    )


def _uri(options: SystemOptions, folder: Path) -> str:
    """The camera's URI; a synthetic one is told its seed and where to write the truth."""
    if not options.camera.startswith(SYNTHETIC):
        return options.camera
    path, _, query = options.camera.partition("?")
    fields = {"seed": str(options.seed)} | dict(urllib.parse.parse_qsl(query))
    files = {"truth": str(_truth_path(folder)), "pictures": str(_pictures_path(folder))}
    return f"{path}?{urllib.parse.urlencode(fields | files)}"


def _truth_path(folder: Path) -> Path:
    return folder / "truth.jsonl"


def _pictures_path(folder: Path) -> Path:
    return folder / "pictures"


def _page_port() -> int:
    """The usual one, or any that is free where another page has that."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", DASHBOARD_PORT))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _route(options: SystemOptions, broker: Broker, plan: Plan) -> str:
    private = options.broker is None
    where = f"mosquitto :{broker.port}" if private else f"mqtt://{broker.host}:{broker.port}"
    stops = [options.camera, "device", where, *plan.tiers[1:]]
    if options.link is not None:
        stops.insert(2, f"link {options.link}")
    return " -> ".join(stops)


def _clear_retained(session: Session, topics: Topics, plan: Plan) -> None:
    """Leave nothing on somebody's broker."""
    device, camera = plan.device, plan.camera
    for topic in (
        topics.available(device),
        topics.status(device, camera),
        topics.descriptor(device, camera),
        topics.caption(device, camera),
        topics.enabled_state(device, camera),
        topics.edge_available(plan.node),
    ):
        session.publish(Outgoing(topic, b"", qos=1, retain=True))


def _take_down(children: list[Child]) -> None:
    """End the tiers, device first in the list; a second Ctrl-C does not leave them behind."""
    held = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, held)
    try:
        stop_all(children)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

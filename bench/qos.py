"""`aiflow bench qos`: what MQTT adds to a payload, by QoS, expiry, alias and receipts a frame.

    session, as the device's --- link (counted) --- mosquitto --- session, as an edge node's

Counted at the socket are both directions: PUBLISH, PUBACK and the receipts; not the connection's
start, and not TCP's and IP's own headers. Frames follow each other without their pauses, which
changes no byte: a frame's receipt comes when as many have come as at two frames a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from aiflow.bench.broker import HOST, PrivateBroker
from aiflow.bench.link import Link
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError, BrokerUnreachable
from aiflow.common.mqtt import Properties, Session
from aiflow.common.topics import Topics
from aiflow.common.wire import pack_receipt
from aiflow.edge.config import EdgeConfig

DEVICE: Final = "porch"
CAMERA: Final = "street"
FPS: Final = 2.0
FRAMES: Final = 60
PAYLOAD_BYTES: Final = 12
FIRST_SEQUENCE: Final = 172_800
"""Of a stream that is a day old."""
ANSWER_S: Final = 10.0
QUIET_S: Final = 0.2
"""Whatever is on its way arrives."""


@dataclass(frozen=True, slots=True)
class Manner:
    """One way to send frames and their receipts."""

    qos: int
    expiry_s: int | None
    alias: bool
    receipt_every_s: float

    @property
    def frames_per_receipt(self) -> int:
        return max(1, round(self.receipt_every_s * FPS))


@dataclass(frozen=True, slots=True)
class Overhead:
    """Mean bytes a frame on the socket beyond the payload."""

    qos: int
    expiry: bool
    alias: bool
    receipt_every_s: float
    up: float
    down: float
    total: float


def run(
    *, seed: int, plot: Path | None, say: Callable[[str], None], scenes: int | None = None
) -> Mapping[str, object]:
    """Measure all manners with `scenes` frames each (60 unless given)."""
    del seed, plot
    say(f"bytes a frame beyond a payload of {PAYLOAD_BYTES}, at {FPS:g} frames a second")
    say("QoS  expiry  alias  receipts    up  down  total")
    rows = []
    for manner in manners(EdgeConfig().receipt_every_s):
        row = measure(manner, scenes or FRAMES)
        rows.append(row)
        say(
            f"  {row.qos}  {_yes(row.expiry):6}  {_yes(row.alias):5}  "
            f"each {row.receipt_every_s:3g} s {row.up:5.1f} {row.down:5.1f} {row.total:6.1f}"
        )
    shipped = next(row for row in rows if row.qos == 0 and row.alias and not row.expiry)
    return {
        "payload_bytes": PAYLOAD_BYTES,
        "fps": FPS,
        "shipped": asdict(shipped),
        "rows": [asdict(row) for row in rows],
    }


def manners(shipped_receipts_s: float) -> Iterator[Manner]:
    """As it is shipped first."""
    for receipts_s in (shipped_receipts_s, shipped_receipts_s / 2, 1 / FPS):
        for qos in (0, 1):
            for expiry_s in (None, 60):
                yield Manner(qos, expiry_s, alias=True, receipt_every_s=receipts_s)
    yield Manner(1, 60, alias=False, receipt_every_s=1 / FPS)


class _Count:
    """Counts messages on a network thread; another one waits for them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def take(self, _topic: str, _payload: bytes, _properties: Properties) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, ANSWER_S):
                raise BrokerUnreachable(f"only {self._count} of {count} messages came through")


def measure(manner: Manner, frames: int) -> Overhead:
    """Send frames in one manner. Raises BrokerError."""
    topics = Topics()
    embedding, receipt = topics.embedding(DEVICE, CAMERA), topics.receipt(DEVICE, CAMERA)
    arrived, receipted = _Count(), _Count()
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker())
        link = stack.enter_context(Link(broker.host, broker.port))
        edge = Session(Broker(host=broker.host, port=broker.port), "edge")
        edge.subscribe(embedding, 1, arrived.take)
        device = Session(Broker(host=HOST, port=link.port), "device")
        device.subscribe(receipt, 0, receipted.take)
        for session in (edge, device):
            stack.callback(session.close)
            session.start()
            session.wait_connected(ANSWER_S)
        time.sleep(QUIET_S)  # subscriptions are acknowledged
        _send(device, embedding, manner, 0)  # makes the alias known
        arrived.wait_for(1)
        time.sleep(QUIET_S)
        up, down = link.up_bytes, link.down_bytes
        each = manner.frames_per_receipt
        for number in range(1, frames + 1):
            _send(device, embedding, manner, number)
            arrived.wait_for(number + 1)
            if number % each == 0:
                sequences = range(FIRST_SEQUENCE + number - each, FIRST_SEQUENCE + number)
                edge.publish(receipt, pack_receipt(sequences))
                receipted.wait_for(number // each)
        time.sleep(QUIET_S)
        up, down = link.up_bytes - up, link.down_bytes - down
    return Overhead(
        qos=manner.qos,
        expiry=manner.expiry_s is not None,
        alias=manner.alias,
        receipt_every_s=manner.receipt_every_s,
        up=round(up / frames - PAYLOAD_BYTES, 2),
        down=round(down / frames, 2),
        total=round((up + down) / frames - PAYLOAD_BYTES, 2),
    )


def _send(session: Session, topic: str, manner: Manner, number: int) -> None:
    payload = number.to_bytes(PAYLOAD_BYTES, "big")
    if not session.publish(
        topic, payload, qos=manner.qos, alias=manner.alias, expiry_s=manner.expiry_s
    ):
        raise AiflowError("the session takes no more messages")


def _yes(condition: bool) -> str:  # noqa: FBT001 - a value to print
    return "yes" if condition else "no"

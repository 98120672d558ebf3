"""Bytes at the socket: a real session, a real Mosquitto, and a relay between them that counts.

    session, as the device's --- link (counted) --- mosquitto --- stand-in for the edge

Payloads are published as the daemon does it (its own `Voice`), and receipts come when they came
in the stream, as an edge node sends them. Only the waiting in between is left out. Counted are
both directions, with PUBACKs; not the connection's start, and not TCP's and IP's own headers.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from aiflow.bench.coded import CAMERA, DEVICE, Sending
from aiflow.common.config import Broker
from aiflow.common.errors import AiflowError, BrokerUnreachable
from aiflow.common.messages import Descriptor
from aiflow.common.metrics import Counters
from aiflow.common.mqtt import Properties, Reason, Session
from aiflow.common.topics import Topics
from aiflow.common.wire import pack_receipt
from aiflow.device.config import SendingConfig
from aiflow.device.voice import Voice
from aiflow.rig.broker import HOST, PrivateBroker
from aiflow.rig.link import Link

CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0
QUIET_S: Final = 0.2
"""Before and after: whatever is on its way arrives."""


@dataclass(frozen=True, slots=True)
class SocketBytes:
    """Mean bytes a frame from the device and to it; `setup` is once, for the connection."""

    up: float
    down: float
    setup: int
    frames_per_receipt: float

    @property
    def mean(self) -> float:
        return self.up + self.down


class _Receiver:
    """Counts messages on the network thread; another one waits for them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0

    def take(self, _topic: str, _payload: bytes, _properties: Properties) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()

    def wait_for(self, count: int, what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, ANSWER_S):
                raise BrokerUnreachable(f"only {self._count} of {count} {what} came through")


def measure(went: Sending) -> SocketBytes:
    """Send a stream once more, through sockets. Raises BrokerError."""
    topics = Topics()
    receipt_topic = topics.receipt(DEVICE, CAMERA)
    frames, receipts = _Receiver(), _Receiver()
    with ExitStack() as stack:
        broker = stack.enter_context(PrivateBroker())
        link = stack.enter_context(Link(broker.host, broker.port))
        edge = Session(Broker(host=broker.host, port=broker.port), "edge")
        edge.subscribe(topics.embedding(DEVICE, CAMERA), 1, frames.take)
        device = Session(Broker(host=HOST, port=link.port), f"{topics.prefix}-device-{DEVICE}")
        device.subscribe(receipt_topic, 0, receipts.take)
        for session in (edge, device):
            stack.callback(session.close)
            session.start()
            session.wait_connected(CONNECT_S)
        voice = _voice(device, topics)
        time.sleep(QUIET_S)  # subscriptions are acknowledged
        up, down = link.up_bytes, link.down_bytes
        sent = 0
        answers: list[Reason | None] = []
        for number, (before, sequences) in enumerate(went.receipts):
            for frame in went.frames[sent:before]:
                timed = answers.append if frame.timed else None
                if not voice.embedding(frame.payload, ask_broker=frame.asked, on_accepted=timed):
                    raise AiflowError("the session takes no more messages")
                sent += 1
                frames.wait_for(sent, "frames")
            edge.publish(receipt_topic, pack_receipt(sequences))
            receipts.wait_for(number + 1, "receipts")
        time.sleep(QUIET_S)
        return SocketBytes(
            up=(link.up_bytes - up) / max(sent, 1),
            down=(link.down_bytes - down) / max(sent, 1),
            setup=up + down,
            frames_per_receipt=round(sent / max(len(went.receipts), 1), 2),
        )


def _voice(session: Session, topics: Topics) -> Voice:
    def undescribed(_width: int, _height: int) -> Descriptor:
        raise AiflowError("the descriptor is sent once, and is not measured here")

    return Voice(
        session,
        topics,
        DEVICE,
        CAMERA,
        counters=Counters(),
        expiry_s=SendingConfig().expiry_s,
        allow_images=False,
        describe=undescribed,
    )

"""When which frame leaves the outbox: window, receipts, repetition. Pure logic on a given clock.

    outbox ── after ──> [ flights: sent, no receipt yet; at most `window` ] ── publish ──> broker
       ^                                   │
       └────────── remove <── receipt ─────┘

A frame is sent again when its timer ends (`resend_after_s`, doubled each time), and at once when
the connection or an edge node comes back, or when the node cannot read deltas. The first time it
may go as a delta; again it goes as the outbox keeps it, a key frame. What the broker says about a
publish decides nothing here: custody ends with a receipt, whatever was acknowledged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from aiflow.common.wire import Why
from aiflow.device.outbox import Entry

SETTLE_S: Final = 1.0
"""After connecting, how long to wait for word of an edge node before sending anyway."""
RETRY_S: Final = 1.0
"""Pause after the session took no more."""
MAX_NODES: Final = 64
"""Most edge nodes remembered."""


class Peers:
    """Whether anybody listens: the connection, and what edge nodes say of themselves.

    Nodes are forgotten with the connection: after a restart of the broker nobody would tell us
    that they went away. If none says anything, we send; if all that do are offline, we wait.
    """

    def __init__(self, now: float) -> None:
        self._connected_at: float | None = None
        self._lost_at = now
        self._deserted_at = math.inf
        self._nodes: dict[str, bool] = {}

    def connected(self, now: float) -> None:
        self._connected_at = now
        self._nodes.clear()
        self._deserted_at = math.inf

    def disconnected(self, now: float) -> None:
        if self._connected_at is not None:
            self._lost_at = now
        self._connected_at = None
        self._nodes.clear()
        self._deserted_at = math.inf

    def node(self, name: str, now: float, *, online: bool) -> bool:
        """Note what a node says; True if it has just come (back)."""
        if name not in self._nodes and len(self._nodes) >= MAX_NODES:
            return False
        was = self._nodes.get(name, False)
        self._nodes[name] = online
        if any(self._nodes.values()):
            self._deserted_at = math.inf
        else:
            self._deserted_at = min(self._deserted_at, now)
        return online and not was

    def deserted(self, now: float) -> bool:
        """Whether there is a broker and no edge node on it."""
        if self._connected_at is None or any(self._nodes.values()):
            return False
        return bool(self._nodes) or now >= self._connected_at + SETTLE_S

    def troubles(self) -> dict[Why, float]:
        """What keeps frames from being captioned, and since when."""
        if self._connected_at is None:
            return {Why.DISCONNECTED: self._lost_at}
        if self._deserted_at < math.inf:
            return {Why.NO_NODE: self._deserted_at}
        return {}

    def wait_s(self, now: float) -> float:
        """Seconds until sending makes sense: 0 now, infinite until something changes."""
        if self._connected_at is None:
            return math.inf
        if self._nodes:
            return 0.0 if any(self._nodes.values()) else math.inf
        return max(0.0, self._connected_at + SETTLE_S - now)


class Publishes(Protocol):
    """Hands a payload to the session; False if that takes no more at present."""

    def __call__(self, payload: bytes, *, first: bool, ask_broker: bool) -> bool:
        """`first`: it has not been sent before; `ask_broker`: a refusal must be noticed."""
        ...


class Tells(Protocol):
    """`aiflow.device.herald.Herald`, at the budget's cost."""

    def __call__(self, entry: Entry) -> bool | None:
        """Publish a frame's own caption; False: later, None: the frame has none."""
        ...


class Shortens(Protocol):
    """`aiflow.device.predictor.Predictor`, or what stands in for one."""

    def shorten(self, kept: bytes, now: float) -> bytes: ...
    def acknowledged(self, sequences: Iterable[int]) -> None: ...
    def reset(self) -> None: ...


class Store(Protocol):
    """One camera's way out of the outbox."""

    def after(self, sequence: int, limit: int) -> list[Entry]: ...
    def get(self, sequence: int) -> Entry | None: ...
    def remove(self, sequences: Iterable[int]) -> int: ...


@dataclass(slots=True)
class _Flight:
    due: float
    sent_at: float = math.inf
    """For the first time in this connection."""
    attempts: int = 1
    shortened: bool = False
    """It went as a delta."""


class Sender:
    """One camera's sending; all calls come from one thread."""

    def __init__(
        self,
        store: Store,
        publish: Publishes,
        predictor: Shortens,
        *,
        tell: Tells,
        window: int,
        resend_after_s: float,
        resend_max_s: float,
    ) -> None:
        self._store = store
        self._publish = publish
        self._predictor = predictor
        self._tell = tell
        self._window = window
        self._resend_after_s = resend_after_s
        self._resend_max_s = resend_max_s
        self._flights: dict[int, _Flight] = {}
        self._newest = -1
        self._told = -1
        self.receipt_at = -math.inf
        """When the last one came."""
        self._ask_broker = True
        self.sent = 0
        self.resent = 0
        self.receipted = 0

    @property
    def in_flight(self) -> int:
        return len(self._flights)

    def again(self, now: float) -> None:
        """Whatever has no receipt yet is to be sent again now."""
        for sequence in self._flights:
            self._flights[sequence] = _Flight(now, attempts=0)
        self._predictor.reset()
        self._ask_broker = True
        self._told = -1

    def key_frames(self, now: float) -> None:
        """A delta could not be read: those without a receipt are to go as key frames now."""
        for sequence, flight in self._flights.items():
            if flight.shortened:
                self._flights[sequence] = _Flight(now, attempts=0)
        self._predictor.reset()

    def through(self, now: float) -> None:
        """The broker has only now got what was sent: until now, no receipt could come."""
        for flight in self._flights.values():
            flight.sent_at = max(flight.sent_at, now)

    def silent_since(self) -> float:
        """When the first frame was sent of those sent since the last receipt; infinite if none.

        A frame that never gets one, as the edge cannot read it, does not count for ever.
        """
        sent = (flight.sent_at for flight in self._flights.values())
        return min((at for at in sent if at > self.receipt_at), default=math.inf)

    def receipt(self, ranges: Sequence[range], now: float) -> None:
        """Their captions are published. Only what was sent can be covered."""
        covered = [one for one in self._flights if any(one in run for run in ranges)]
        if covered:
            self.receipt_at = now
            self._predictor.acknowledged(covered)
            self.receipted += self._store.remove(covered)
            for sequence in covered:
                del self._flights[sequence]

    def published(self, sequence: int) -> None:
        """The broker has accepted the frame's own caption."""
        self._flights.pop(sequence, None)
        self.receipted += self._store.remove([sequence])

    def tell(self) -> float:
        """No edge node is there: publish captions of our own; seconds until it is to go on."""
        while entries := self._store.after(self._told, self._window):
            for entry in entries:
                if self._tell(entry) is False:
                    return RETRY_S
                self._told = entry.sequence
        return math.inf

    def step(self, now: float) -> float:
        """Send all that is due; seconds until there is more to do by time alone."""
        if not (self._send_due(now) and self._send_new(now)):
            return RETRY_S
        return min((flight.due for flight in self._flights.values()), default=math.inf) - now

    def _send_due(self, now: float) -> bool:
        for sequence in [one for one, flight in self._flights.items() if flight.due <= now]:
            entry = self._store.get(sequence)
            if entry is None:  # dropped by the outbox's bounds
                del self._flights[sequence]
                continue
            if not self._publish(entry.payload, first=False, ask_broker=True):
                return False
            self._ask_broker = False
            self.resent += 1
            flight = self._flights[sequence]
            attempts = flight.attempts + 1
            sent_at = min(flight.sent_at, now)
            self._flights[sequence] = _Flight(now + self._pause_s(attempts), sent_at, attempts)
        return True

    def _send_new(self, now: float) -> bool:
        room = self._window - len(self._flights)
        for entry in self._store.after(self._newest, room) if room > 0 else ():
            payload = self._predictor.shorten(entry.payload, now)
            if not self._publish(payload, first=True, ask_broker=self._ask_broker):
                return False
            self._ask_broker = False
            self.sent += 1
            self._newest = entry.sequence
            shortened = payload is not entry.payload
            self._flights[entry.sequence] = _Flight(
                now + self._pause_s(1), now, shortened=shortened
            )
        return True

    def _pause_s(self, attempts: int) -> float:
        doubled = self._resend_after_s * 2.0 ** min(attempts - 1, 30)
        return min(max(self._resend_after_s, self._resend_max_s), doubled)

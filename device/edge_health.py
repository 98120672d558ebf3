"""Edge health: who captions a camera's frames now, an edge node or the device, and why.

    connection, edge nodes ─┐
    broker's acks, delays ──┼─> troubles, each since when ──> reason to caption on the device
    frames sent, receipts ──┘                            └─> or none

Pure logic on a given clock; any thread may call. A trouble counts when it has lasted for long
enough, and an edge node counts again after a time without trouble: a link that comes and goes does
not switch the captions' maker with every frame.

A frame is sent with QoS 1 at most every `ASK_EVERY_S`: that is six bytes for knowing within a
second that nobody answers, where TCP alone would go on hoping for minutes.

One file, longer than most, as it answers one question from all that bears on it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiflow.common.mean import Mean
from aiflow.common.messages import REASONS
from aiflow.common.wire import Why

log = logging.getLogger(__name__)

SETTLE_S: Final = 1.0
"""After connecting, how long to wait for word of an edge node before sending anyway."""
MAX_NODES: Final = 64
"""Most edge nodes remembered."""
ASK_EVERY_S: Final = 0.4
PATIENCE: Final = 3.0
"""An ack is overdue after so many times the usual time, if that is longer."""
RELIEF: Final = 0.8
"""Once too slow, the edge must be expected within this share of the deadline."""
NORMAL_WHILE_YOUNG: Final = frozenset({Why.SILENCE, Why.UNANSWERED})


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """How long each trouble must last before it counts, in seconds."""

    offline_s: float
    """No connection, no edge node, or one that is too slow."""
    silence_s: float
    """Frames sent without a receipt; longer than an edge node gathers receipts for."""
    return_s: float
    """No trouble at all, until an edge node captions again."""
    unanswered_s: float
    """No ack of the broker, at least."""
    deadline_s: float
    """What a caption may take from encoding to the edge's publishing."""


@dataclass(slots=True)
class _Camera:
    """What is known of one camera's frames."""

    silent_since: float = math.inf
    """When the first frame was sent of those sent since the last receipt.

    A frame that never gets one, as the edge cannot read it, does not count for ever.
    """
    receipt_at: float = -math.inf
    left_at: float = 0.0
    good_since: float | None = None
    why: Why | None = None


class EdgeHealth:
    """One device's view of the edge; begins with an edge node for every camera.

    Nodes are forgotten with the connection: after a restart of the broker nobody would tell us
    that they went away. If none says anything, we send; if all that do are offline, we wait.
    """

    def __init__(
        self, cameras: Iterable[str], limits: HealthLimits, *, measures: bool, now: float
    ) -> None:
        """With `measures`, acks and delays count as well."""
        self._limits = limits
        self._measures = measures
        self._lock = threading.Lock()
        self._cameras = {camera: _Camera() for camera in cameras}
        self._connected_at: float | None = None
        self._lost_at = now
        self._deserted_at = math.inf
        self._nodes: dict[str, bool] = {}
        self._asked_at = -math.inf
        self._awaited: int | None = None
        self._asked = 0
        self._slow_since = math.inf
        self.ack_s = Mean()
        """From publishing to the broker's acknowledgement."""
        self.edge_s = Mean()
        """From arrival at the edge to its caption."""
        self.own_s = Mean()
        """Of captions of the device's own."""

    # The answers.

    def why(self, camera: str, now: float) -> Why | None:
        """Why the device is to caption this camera's frames by itself; None if it need not."""
        with self._lock:
            self._look(now)
            return self._cameras[camera].why

    def wait_s(self, now: float) -> float:
        """Seconds until sending makes sense: 0 now, infinite until something changes."""
        with self._lock:
            if self._connected_at is None:
                return math.inf
            if self._nodes:
                return 0.0 if any(self._nodes.values()) else math.inf
            return max(0.0, self._connected_at + SETTLE_S - now)

    def deserted(self, now: float) -> bool:
        """Whether there is a broker and no edge node on it."""
        with self._lock:
            if self._connected_at is None or any(self._nodes.values()):
                return False
            return bool(self._nodes) or now >= self._connected_at + SETTLE_S

    @property
    def connected(self) -> bool:
        return self._connected_at is not None

    def silent_since(self, camera: str) -> float:
        """When the first frame was sent of those sent since the last receipt; infinite if none."""
        return self._cameras[camera].silent_since

    def wants_ack(self, now: float) -> bool:
        """Whether the next frame is to ask the broker for an acknowledgement."""
        due = now - self._asked_at >= ASK_EVERY_S
        return self._measures and self._awaited is None and due

    @property
    def predicted_s(self) -> float | None:
        """What the edge's caption of the next frame will take, where that has been measured.

        The acknowledgement's way back stands for the time until the caption is out.
        """
        if self.ack_s.value is None or self.edge_s.value is None:
            return None
        return self.ack_s.value + self.edge_s.value

    def stats(self) -> dict[str, float]:
        """What was measured, for people."""
        measured = {
            "ack_s": self.ack_s.value,
            "edge_s": self.edge_s.value,
            "own_s": self.own_s.value,
            "predicted_s": self.predicted_s,
        }
        return {name: round(value, 4) for name, value in measured.items() if value is not None}

    # What is observed.

    def connected_again(self, now: float) -> None:
        with self._lock:
            self._connected_at = now
            self._nodes.clear()
            self._deserted_at = math.inf
            self._begin_again(now)

    def disconnected(self, now: float) -> None:
        with self._lock:
            if self._connected_at is not None:
                self._lost_at = now
            self._connected_at = None
            self._nodes.clear()
            self._deserted_at = math.inf
            self._awaited = None
            self._look(now)

    def node(self, name: str, now: float, *, online: bool) -> bool:
        """Note what a node says; True if it has just come (back)."""
        with self._lock:
            if name not in self._nodes and len(self._nodes) >= MAX_NODES:
                return False
            came = online and not self._nodes.get(name, False)
            self._nodes[name] = online
            if any(self._nodes.values()):
                self._deserted_at = math.inf
            else:
                self._deserted_at = min(self._deserted_at, now)
            if came:
                self._begin_again(now)
            else:
                self._look(now)
            return came

    def sent(self, camera: str, now: float) -> None:
        """A frame was sent for the first time in this connection."""
        with self._lock:
            seen = self._cameras[camera]
            seen.silent_since = min(seen.silent_since, now)

    def receipted(self, camera: str, now: float) -> None:
        """A receipt has covered frames of this camera."""
        with self._lock:
            self._look(now)
            seen = self._cameras[camera]
            seen.silent_since, seen.receipt_at = math.inf, now
            self._look(now)

    def captioned(self, seconds: float) -> None:
        """A caption of the device's own took so long."""
        with self._lock:
            self.own_s.add(seconds)

    def delayed(self, seconds: float) -> None:
        """A frame was so long at the edge until its caption, by a receipt."""
        with self._lock:
            self.edge_s.add(seconds)

    def asked(self, now: float) -> int:
        """A frame that asks the broker has left; returns what its ack is to be told with."""
        with self._lock:
            self._asked_at = now
            self._asked += 1
            self._awaited = self._asked
            return self._asked

    def not_asked(self) -> None:
        """The frame could not be published after all."""
        self._awaited = None

    def acknowledged(self, asked: int, now: float) -> None:
        """The broker's ack has come.

        If it was overdue, the broker has only now got what was sent: no receipt could come.
        """
        with self._lock:
            if asked != self._awaited:
                return
            self._look(now)
            took_s, limit_s = now - self._asked_at, self._ack_limit_s
            self._awaited = None
            # A link that was dead for a minute is not one that takes a minute.
            self.ack_s.add(min(took_s, limit_s))
            if took_s >= limit_s:
                for seen in self._cameras.values():
                    if seen.silent_since < math.inf:
                        seen.silent_since = max(seen.silent_since, now)
            self._look(now)

    # Under the lock.

    def _begin_again(self, now: float) -> None:
        """All that has no receipt yet is sent again."""
        for seen in self._cameras.values():
            seen.silent_since = math.inf
        self._look(now)

    def _look(self, now: float) -> None:
        common = self._troubles(now)
        for name, seen in self._cameras.items():
            troubles = dict(common)
            if self._reachable and seen.silent_since < math.inf:
                troubles[Why.SILENCE] = seen.silent_since
            self._judge(name, seen, troubles, now)

    @property
    def _reachable(self) -> bool:
        return self._connected_at is not None and self._deserted_at == math.inf

    def _troubles(self, now: float) -> dict[Why, float]:
        """What keeps all frames from being captioned, and since when; it may be in the future."""
        if self._connected_at is None:
            return {Why.DISCONNECTED: self._lost_at}
        if self._deserted_at < math.inf:
            return {Why.NO_NODE: self._deserted_at}
        troubles: dict[Why, float] = {}
        if self._awaited is not None:
            troubles[Why.UNANSWERED] = self._asked_at + self._ack_limit_s
        if self._measures and self._is_slow():
            self._slow_since = min(self._slow_since, now)
            troubles[Why.SLOW] = self._slow_since
        else:
            self._slow_since = math.inf
        return troubles

    @property
    def _ack_limit_s(self) -> float:
        """An ack that takes so long is overdue."""
        return max(self._limits.unanswered_s, PATIENCE * self.ack_s.known())

    def _is_slow(self) -> bool:
        """Whether the edge misses the deadline, and the device is not known to be slower still."""
        predicted_s = self.predicted_s
        if predicted_s is None:
            return False
        limit_s = self._limits.deadline_s * (1.0 if self._slow_since == math.inf else RELIEF)
        return predicted_s > limit_s and predicted_s > self.own_s.known()

    def _judge(self, name: str, seen: _Camera, troubles: dict[Why, float], now: float) -> None:
        """Go over to the device, or back to the edge, as soon as it is time to."""
        lasting = next(
            (why for why, since in troubles.items() if now >= since + self._lasts_s(why)), None
        )
        if lasting is not None:
            if seen.why is None:
                seen.left_at = now
                log.warning("camera %s: captioned on the device: %s", name, REASONS[lasting])
            seen.why, seen.good_since = lasting, None
        elif seen.why is not None:
            asks = seen.why is Why.SILENCE and Why.SILENCE in troubles
            heard = not asks or seen.receipt_at > seen.left_at
            if not heard or troubles.keys() - NORMAL_WHILE_YOUNG:
                seen.good_since = None
                return
            if seen.good_since is None:
                seen.good_since = now
            if now >= seen.good_since + self._limits.return_s:
                log.info("camera %s: an edge node is within reach again", name)
                seen.why = None

    def _lasts_s(self, why: Why) -> float:
        if why is Why.UNANSWERED:
            return 0.0  # its beginning says from when on it counts
        return self._limits.silence_s if why is Why.SILENCE else self._limits.offline_s

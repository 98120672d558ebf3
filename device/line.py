"""What a device measures of its way to an edge node, and what that says of the next frame.

    frame with QoS 1 ──> PUBACK     the broker answers, and how soon
    receipt          ──> delay      how long a frame waits and is decoded at the edge
    own caption      ──> seconds    how long it would take here

Pure logic on a given clock. A frame goes with QoS 1 at most every `ASK_EVERY_S`: that is six bytes
for knowing within a second that nobody answers, where TCP alone would go on hoping for minutes.
"""

from __future__ import annotations

import math
from typing import Final

from aiflow.common.mean import Mean
from aiflow.common.wire import Why

ASK_EVERY_S: Final = 0.4
PATIENCE: Final = 3.0
"""An answer is overdue after so many times the usual time, if that is longer."""
RELIEF: Final = 0.8
"""Once too slow, the edge must be expected within this share of the deadline."""


class Line:
    """One device's way to its edge node; used by one thread."""

    def __init__(self, *, unanswered_s: float, deadline_s: float) -> None:
        """`unanswered_s` is the least time that an answer of the broker may take.

        `deadline_s` is what a caption may take from encoding to the edge's publishing.
        """
        self._unanswered_s = unanswered_s
        self._deadline_s = deadline_s
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

    def wants(self, now: float) -> bool:
        """Whether the next frame is to ask for an acknowledgement."""
        return self._awaited is None and now - self._asked_at >= ASK_EVERY_S

    def ask(self, now: float) -> int:
        """A frame that asks has left; returns what its acknowledgement is to be told with."""
        self._asked_at = now
        self._asked += 1
        self._awaited = self._asked
        return self._asked

    def answered(self, asked: int, now: float) -> bool:
        """The broker has acknowledged it; returns whether that was overdue."""
        if asked != self._awaited:
            return False
        took_s, limit_s = now - self._asked_at, self._limit_s
        self._awaited = None
        # A link that was dead for a minute is not one that takes a minute.
        self.ack_s.add(min(took_s, limit_s))
        return took_s >= limit_s

    def lost(self) -> None:
        """The connection has ended, and with it what was asked."""
        self._awaited = None

    @property
    def predicted_s(self) -> float | None:
        """What the edge's caption of the next frame will take, where that has been measured.

        The acknowledgement's way back stands for the time until the caption is out.
        """
        if self.ack_s.value is None or self.edge_s.value is None:
            return None
        return self.ack_s.value + self.edge_s.value

    def troubles(self, now: float) -> dict[Why, float]:
        """What speaks for captioning on the device, and since when; it may be in the future."""
        troubles: dict[Why, float] = {}
        if self._awaited is not None:
            troubles[Why.UNANSWERED] = self._asked_at + self._limit_s
        if self._is_slow():
            self._slow_since = min(self._slow_since, now)
            troubles[Why.SLOW] = self._slow_since
        else:
            self._slow_since = math.inf
        return troubles

    def stats(self) -> dict[str, float]:
        """What was measured, for people."""
        measured = {
            "ack_s": self.ack_s.value,
            "edge_s": self.edge_s.value,
            "own_s": self.own_s.value,
            "predicted_s": self.predicted_s,
        }
        return {name: round(value, 4) for name, value in measured.items() if value is not None}

    @property
    def _limit_s(self) -> float:
        """An answer that takes so long is overdue."""
        return max(self._unanswered_s, PATIENCE * self.ack_s.known())

    def _is_slow(self) -> bool:
        """Whether the edge misses the deadline, and the device is not known to be slower still."""
        predicted_s = self.predicted_s
        if predicted_s is None:
            return False
        limit_s = self._deadline_s * (1.0 if self._slow_since == math.inf else RELIEF)
        return predicted_s > limit_s and predicted_s > self.own_s.known()

"""Whether an edge node is within reach of a camera, or the device must caption by itself.

    trouble that lasts long enough ──> out of reach, with the reason
    no trouble for `return_s`      ──> within reach again

Pure logic on a given clock. The courier's thread tells, the camera's thread asks. The delays keep
a link that comes and goes from switching the captions' maker with every frame.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiflow.common.messages import REASONS
from aiflow.common.wire import Why

log = logging.getLogger(__name__)

NORMAL_WHILE_YOUNG: Final = frozenset({Why.SILENCE, Why.UNANSWERED})


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a state must last before it counts."""

    offline_s: float
    """Of no connection, of no edge node, or of one that is too slow."""
    silence_s: float
    """Of frames sent without a receipt; longer than an edge node gathers receipts for."""
    return_s: float
    """Of no trouble at all."""


class Reach:
    """One camera's reach; begins within it."""

    def __init__(self, camera: str, patience: Patience) -> None:
        self._camera = camera
        self._patience = patience
        self._left_at = 0.0
        self._good_since: float | None = None
        self.why: Why | None = None
        """Why the device captions by itself at present; None if it need not."""

    def update(self, now: float, troubles: Mapping[Why, float], receipt_at: float) -> float:
        """Take in what is wrong and since when, and when the last receipt came.

        Frames that have been sent and have no receipt yet are a trouble, and so are those that the
        broker has not acknowledged yet, though a normal one while it is young. Returns the seconds
        until time alone may change something.
        """
        left_s = {why: since + self._limit_s(why) - now for why, since in troubles.items()}
        lasting = next((why for why, left in left_s.items() if left <= 0), None)
        if lasting is not None:
            if self.why is None:
                self._left_at = now
            self._good_since = None
            self._turn(lasting)
            return math.inf
        if self.why is not None:
            asks = self.why is Why.SILENCE and Why.SILENCE in troubles
            heard = not asks or receipt_at > self._left_at
            back_s = self._return_s(now, good=heard and not troubles.keys() - NORMAL_WHILE_YOUNG)
            return min(back_s, *left_s.values(), math.inf)
        return min(left_s.values(), default=math.inf)

    def _return_s(self, now: float, *, good: bool) -> float:
        if not good:
            self._good_since = None
            return math.inf
        if self._good_since is None:
            self._good_since = now
        left_s = self._good_since + self._patience.return_s - now
        if left_s <= 0:
            self._turn(None)
            return math.inf
        return left_s

    def _limit_s(self, why: Why) -> float:
        if why is Why.UNANSWERED:
            return 0.0  # the line says from when on it counts
        return self._patience.silence_s if why is Why.SILENCE else self._patience.offline_s

    def _turn(self, why: Why | None) -> None:
        if why is not None and self.why is None:
            log.warning("camera %s: captioned on the device: %s", self._camera, REASONS[why])
        elif why is None and self.why is not None:
            log.info("camera %s: an edge node is within reach again", self._camera)
        self.why = why

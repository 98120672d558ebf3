"""When to ask the cloud: at once, while the edge still decodes, or with the whole draft. A leaf.

Asking at once saves the time until the edge has finished. It costs a second message, and passes of
a cloud that does not wait for the rest of the draft; on a slow or busy link, or with a slow cloud,
that may be more than it saves. So both are measured, from the moment of doubt to the answer, and
the better one is taken; now and then the other one, since links change.
"""

from __future__ import annotations

import threading
from typing import Final, Literal

from aiflow.common.mean import Mean

Drafts = Literal["auto", "whole", "streamed"]

TRIALS: Final = 4
"""So many answers of each are wanted before one is preferred."""
LOOK_AGAIN: Final = 16
"""One question in so many is asked the other way."""
WORTH: Final = 0.95
"""Streaming must take at most this share of the time of a whole draft: it costs more else."""


class Pace:
    """Chooses between the two ways by what they took lately. Any thread may call it."""

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts
        self._lock = threading.Lock()
        self._asked = 0
        self._answers = {True: 0, False: 0}
        self._seconds = {True: Mean(), False: Mean()}

    def streams(self) -> bool:
        """Whether to ask this question at once. To be called for each question, and only once."""
        if self._drafts != "auto":
            return self._drafts == "streamed"
        with self._lock:
            self._asked += 1
            whole, streamed = self._answers[False], self._answers[True]
            if min(whole, streamed) < TRIALS:
                return self._asked % 2 == 0
            better = self._seconds[True].known() <= WORTH * self._seconds[False].known()
            return better is not (self._asked % LOOK_AGAIN == 0)

    def answered(self, seconds: float, *, streamed: bool) -> None:
        """A question was answered so long after the first doubt about its caption."""
        with self._lock:
            self._answers[streamed] += 1
            self._seconds[streamed].add(seconds)

    def seconds(self, *, streamed: bool) -> float:
        """What one way has taken lately; 0 before its first answer."""
        with self._lock:
            return self._seconds[streamed].known()

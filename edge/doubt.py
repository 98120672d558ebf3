"""Hears a caption being made, and notices when its confidence is bound to end too low. A leaf."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiflow.common.captioner import Partial
from aiflow.edge.question import Question


class Doubt:
    """About one caption. The confidence of the whole can only be lower than that of a part."""

    def __init__(
        self,
        threshold: float,
        ask: Callable[[Partial], Question | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ask` may put the question at once, or leave it until the caption is finished."""
        self._threshold = threshold
        self._ask = ask
        self._clock = clock
        self.since: float | None = None
        """When the confidence went below the threshold; None if it has not."""
        self.question: Question | None = None
        """What was asked then."""

    def told(self, partial: Partial) -> None:
        """The caption has got so far."""
        if self.since is None and partial.confidence < self._threshold:
            self.since = self._clock()
            self.question = self._ask(partial)

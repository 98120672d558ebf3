"""Rests of drafts that come after their requests, until those are answered. A leaf.

The network thread adds, the worker asks before each pass. Bounded by the requests in hand: what
belongs to none of them is another worker's, or too late.
"""

from __future__ import annotations

import threading

from aiflow.common.metrics import Counters
from aiflow.common.wire import DraftRest, unpack_draft_rest


class Drafts:
    """What has come of the drafts of this worker's requests."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._lock = threading.Lock()
        self._rests: dict[bytes, DraftRest | None] = {}

    def expect(self, correlation: bytes | None) -> None:
        """A request is in hand; the rest of its draft may come."""
        if correlation is not None:
            with self._lock:
                self._rests.setdefault(correlation, None)

    def add(self, correlation: bytes | None, payload: bytes) -> None:
        """Take the rest of a draft, if its request is in hand; raises a PayloadError."""
        with self._lock:
            if correlation not in self._rests:
                return
            self._rests[correlation] = unpack_draft_rest(payload)
        self._counters.add("aiflow_draft_rests_total")

    def whole(self, correlation: bytes | None, first: tuple[int, ...]) -> tuple[int, ...]:
        """A request's draft as far as it has come, `first` being what it came with."""
        with self._lock:
            rest = self._rests.get(correlation) if correlation is not None else None
        return first + rest.tokens if rest is not None and rest.before == len(first) else first

    def forget(self, correlation: bytes | None) -> None:
        """The request has its answer."""
        if correlation is not None:
            with self._lock:
                self._rests.pop(correlation, None)

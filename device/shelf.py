"""One camera's part of the outbox: what its stream puts in and its sender takes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from aiflow.device.outbox import Entry, Outbox


class Shelf:
    """Binds the outbox to one camera; `on_put` hears of each new frame."""

    def __init__(self, outbox: Outbox, camera: str, on_put: Callable[[], None]) -> None:
        self._outbox = outbox
        self._camera = camera
        self._on_put = on_put

    def describe(self, descriptor: bytes) -> None:
        self._outbox.describe(self._camera, descriptor)

    def put(self, build: Callable[[int], bytes]) -> Entry:
        entry = self._outbox.put(self._camera, build)
        self._on_put()
        return entry

    def after(self, sequence: int, limit: int) -> list[Entry]:
        return self._outbox.after(self._camera, sequence, limit)

    def get(self, sequence: int) -> Entry | None:
        return self._outbox.get(self._camera, sequence)

    def remove(self, sequences: Iterable[int]) -> int:
        return self._outbox.remove(self._camera, sequences)

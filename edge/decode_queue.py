"""The frames that wait for the decoder, and the thread that takes them to it in batches.

    network thread -> put -> waiting -> decode thread -> decoder

When the queue is full, the newest frame is kept and the oldest of the same camera goes: one camera
that floods the node pays for it itself. What goes has no receipt, so its device sends it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aiflow.common.batches import Batches
from aiflow.common.metrics import Counters
from aiflow.common.work_loop import WorkLoop
from aiflow.edge.custody import Custody
from aiflow.edge.received import EmbeddingFrame, PictureFrame

Waiting = EmbeddingFrame | PictureFrame


class DecodeQueue:
    """At most `max_waiting` frames, decoded up to `batch_max` at once."""

    def __init__(
        self,
        decode: Callable[[Sequence[Waiting]], None],
        custody: Custody,
        counters: Counters,
        *,
        max_waiting: int,
        batch_max: int,
    ) -> None:
        self._decode = decode
        self._custody = custody
        self._counters = counters
        self._waiting: Batches[Waiting] = Batches(max_waiting, victim=oldest_of_camera)
        self.loop = WorkLoop(
            "decode", lambda: self._waiting.take(batch_max), self._decoded, counters
        )

    def put(self, frame: Waiting) -> None:
        """Take a frame in; what has to go for it is released."""
        dropped = self._waiting.put(frame)
        if dropped is not None:
            reason = "closing" if dropped is frame else "queue_full"
            self._counters.add("aiflow_dropped_total", reason=reason)
            self._custody.release(dropped.key)

    def close(self, timeout_s: float) -> None:
        """Leave what waits to its devices, and wait for the batch in hand."""
        self._release(self._waiting.close())
        self.loop.join(timeout_s)

    def __len__(self) -> int:
        return len(self._waiting)

    def _decoded(self, batch: Sequence[Waiting]) -> None:
        try:
            self._decode(batch)
        except Exception:
            self._release(batch)
            raise

    def _release(self, frames: Sequence[Waiting]) -> None:
        for frame in frames:
            self._custody.release(frame.key)


def oldest_of_camera(waiting: Sequence[Waiting], newcomer: Waiting) -> int:
    """Index of the newcomer's camera's oldest frame; where none waits, of the oldest of all."""
    camera = newcomer.key.stream[:2]
    for index, frame in enumerate(waiting):
        if frame.key.stream[:2] == camera:
            return index
    return 0

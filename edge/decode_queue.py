"""The queue of frames that wait for the decoder, and whom it gives up. A leaf.

When it is full, the newest frame is kept and the oldest of the same camera goes: one camera that
floods the node pays for it itself. What goes has no receipt, so its device sends it again.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiflow.common.batches import Batches
from aiflow.edge.received import EmbeddingFrame, PictureFrame

Waiting = EmbeddingFrame | PictureFrame


def batcher(max_waiting: int) -> Batches[Waiting]:
    """A queue of at most so many frames."""
    return Batches(max_waiting, victim=oldest_of_camera)


def oldest_of_camera(waiting: Sequence[Waiting], newcomer: Waiting) -> int:
    """Index of the newcomer's camera's oldest frame; where none waits, of the oldest of all."""
    camera = newcomer.key.stream[:2]
    for index, frame in enumerate(waiting):
        if frame.key.stream[:2] == camera:
            return index
    return 0

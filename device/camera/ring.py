"""Pictures in memory that a camera's process writes and the daemon reads, without a copy between.

    slot 0 │ picture, rows from above │ unused ...
    slot 1 │
    slot 2 │        each slot is MAX_FRAME_BYTES long, and takes up memory only where written

The memory has no name and belongs to nobody: it is gone with the last process that has it open,
however that one ended. Its length is sealed, so that no process can pull it away under the other.
Who may touch which slot is agreed upon by messages (`aiflow.device.camera.exchange`).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Final

import numpy as np

from aiflow.common.errors import CameraError
from aiflow.device.camera.base import Image

SLOTS: Final = 3
"""One that is looked at, one that waits for it, and one that is being written."""
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
"""A picture of 22 megapixels; a multiple of the page size of every machine."""


def shared_memory() -> int:
    """File descriptor of new memory for one ring. Raises OSError."""
    memory = os.memfd_create("aiflow-camera", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(memory, SLOTS * MAX_FRAME_BYTES)
        seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(memory)
        raise
    return memory


class Ring:
    """One process's view of the slots; it ends when the last picture taken from it is forgotten."""

    def __init__(self, memory: int, *, writable: bool = False) -> None:
        """`memory` is a descriptor from `shared_memory`; it may be closed afterwards."""
        access = mmap.PROT_READ | mmap.PROT_WRITE if writable else mmap.PROT_READ
        self._slots = mmap.mmap(memory, SLOTS * MAX_FRAME_BYTES, mmap.MAP_SHARED, access)

    def picture(self, slot: int, height: int, width: int) -> Image:
        """What lies in a slot, as (height, width, 3); a view. Raises CameraError."""
        size = height * width * 3
        if not 0 <= slot < SLOTS or height < 1 or width < 1 or size > MAX_FRAME_BYTES:
            raise CameraError(
                f"a picture of {width}x{height} does not fit: {MAX_FRAME_BYTES >> 20} MiB is the "
                "most that a frame may take; ask the camera for a smaller one (width, height)"
            )
        flat = np.frombuffer(self._slots, np.uint8, size, slot * MAX_FRAME_BYTES)
        return flat.reshape(height, width, 3)

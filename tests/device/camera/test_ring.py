from __future__ import annotations

import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera.ring import MAX_FRAME_BYTES, SLOTS, Ring, shared_memory


@pytest.fixture
def memory() -> Iterator[int]:
    memory = shared_memory()
    yield memory
    os.close(memory)


def test_what_one_side_writes_the_other_one_sees(memory: int) -> None:
    written, seen = Ring(memory, writable=True), Ring(memory)
    sizes = [(480, 640), (1, 1), (33, 47)]
    for slot, (height, width) in enumerate(sizes):
        written.picture(slot, height, width)[:] = slot + 1
    for slot, (height, width) in enumerate(sizes):
        picture = seen.picture(slot, height, width)
        assert picture.shape == (height, width, 3)
        assert (picture == slot + 1).all()
        with pytest.raises(ValueError, match="read-only"):
            picture[:] = 0


def test_memory_is_taken_only_where_pictures_are(memory: int) -> None:
    written = Ring(memory, writable=True)
    for slot in range(SLOTS):
        written.picture(slot, 480, 640)[:] = 1
    assert os.fstat(memory).st_blocks * 512 <= SLOTS * (480 * 640 * 3 + mmap.PAGESIZE)


def test_length_is_sealed(memory: int) -> None:
    for length in (0, SLOTS * MAX_FRAME_BYTES + 1):
        with pytest.raises(PermissionError):
            os.ftruncate(memory, length)


@pytest.mark.parametrize(
    "slot, height, width",
    [(-1, 1, 1), (SLOTS, 1, 1), (0, 0, 1), (0, 1, -1), (0, 4730, 4730), (2, 1 << 40, 1 << 40)],
)
def test_picture_that_does_not_fit(memory: int, slot: int, height: int, width: int) -> None:
    with pytest.raises(CameraError, match=f"a picture of {width}x{height} does not fit: 64 MiB"):
        Ring(memory).picture(slot, height, width)


def test_picture_outlives_its_ring(memory: int) -> None:
    picture = Ring(memory).picture(0, 4, 4)
    Ring(memory, writable=True).picture(0, 4, 4)[:] = 9
    assert np.all(picture == 9)

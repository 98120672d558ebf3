from __future__ import annotations

import numpy as np
import pytest

from aiflow.common.codec import compress
from aiflow.common.errors import ReferenceMissing
from aiflow.common.frames import MAX_REFERENCES, Frames
from aiflow.common.tables import Tables
from aiflow.common.wire import Header, Kind, Packet

TABLES = Tables.uniform(6, 3, 5, layers=(4, 6))
TAG = b"\xab\xab"
STILL = np.ones((6, 3), np.uint8)


def key(sequence: int) -> Packet:
    return Packet(Kind.KEY, TAG, sequence, sequence, compress(STILL, TABLES, layers=2), layers=2)


def delta(sequence: int, to: int) -> Packet:
    body = compress(STILL, TABLES, layers=2, reference=STILL)
    return Packet(Kind.DELTA, TAG, sequence, sequence, body, 0, 2, Header(TAG, to, to, 2))


def test_the_oldest_frame_may_still_be_referred_to_and_stays() -> None:
    frames = Frames()
    for sequence in range(MAX_REFERENCES):
        frames.take(key(sequence), b"", TABLES)
    frames.take(delta(MAX_REFERENCES, 0), b"", TABLES)
    assert set(frames.frames) == {0, *range(2, MAX_REFERENCES + 1)} == set(frames.decoded)


def test_a_frame_that_cannot_be_read_changes_nothing() -> None:
    frames = Frames()
    frames.take(key(1), b"", TABLES)
    with pytest.raises(ReferenceMissing):
        frames.take(delta(2, 0), b"", TABLES)
    assert list(frames.frames) == [1]

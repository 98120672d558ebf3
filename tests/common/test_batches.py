from __future__ import annotations

import threading
from collections.abc import Sequence

from aiflow.common.batches import Batches


def _oldest(_waiting: Sequence[int], _item: int) -> int:
    return 0


def _newcomer(_waiting: Sequence[int], _item: int) -> None:
    return None


def test_takes_what_is_there_up_to_a_batch() -> None:
    batches = Batches(10, _oldest)
    for item in range(5):
        assert batches.put(item) is None
    assert len(batches) == 5
    assert batches.take(3) == [0, 1, 2]
    assert batches.take(3) == [3, 4]


def test_blocks_until_something_comes() -> None:
    batches, taken = Batches(10, _oldest), list[list[int]]()
    worker = threading.Thread(target=lambda: taken.append(batches.take(8)))
    worker.start()
    batches.put(1)
    worker.join(5.0)
    assert taken == [[1]]


def test_a_full_queue_drops_whom_the_policy_names() -> None:
    batches = Batches(2, _oldest)
    assert [batches.put(item) for item in range(4)] == [None, None, 0, 1]
    assert batches.take(9) == [2, 3]


def test_a_full_queue_may_refuse_the_newcomer() -> None:
    batches = Batches(2, _newcomer)
    assert [batches.put(item) for item in range(3)] == [None, None, 2]
    assert batches.take(9) == [0, 1]


def test_closing_gives_back_what_waits_and_takes_no_more() -> None:
    batches, taken = Batches(10, _oldest), list[list[int]]()
    batches.put(1)
    assert batches.close() == [1]
    assert batches.put(2) == 2
    worker = threading.Thread(target=lambda: taken.append(batches.take(8)))
    worker.start()
    worker.join(5.0)
    assert taken == [[]]
    assert batches.close() == []


def test_closing_wakes_a_waiting_worker() -> None:
    batches, taken = Batches(10, _oldest), list[list[int]]()
    worker = threading.Thread(target=lambda: taken.append(batches.take(8)))
    worker.start()
    batches.close()
    worker.join(5.0)
    assert taken == [[]]

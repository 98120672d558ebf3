from __future__ import annotations

import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aiflow.common.wire import RefineOrder
from aiflow.device.camera import Frame
from aiflow.device.slot import MAX_ORDERS, Slot

if TYPE_CHECKING:
    from tests.device.conftest import NewFrame


def test_newer_frame_replaces_an_unread_one(new_frame: NewFrame) -> None:
    slot = Slot()
    for value in range(3):
        slot.put(new_frame(value))
    taken = slot.take()
    assert not isinstance(taken, RefineOrder | None)
    assert taken.image[0, 0, 0] == 2
    assert (slot.captured, slot.replaced) == (3, 2)
    slot.poke()
    assert slot.take() is None


def test_replaced_frame_is_given_back(new_frame: NewFrame) -> None:
    slot, frame = Slot(), new_frame(1)
    given_back: list[int] = []
    for number in range(3):
        slot.put(replace(frame, index=number, release=partial(given_back.append, number)))
    taken = slot.take()
    assert given_back == [0, 1]
    assert isinstance(taken, Frame)
    taken.release()
    assert given_back == [0, 1, 2]


def test_orders_come_first_and_are_bounded(new_frame: NewFrame) -> None:
    slot = Slot()
    slot.put(new_frame(1))
    for number in range(MAX_ORDERS + 2):
        slot.order(RefineOrder(number, 0, 0))
    orders = [slot.take() for _ in range(MAX_ORDERS)]
    assert orders == [RefineOrder(number, 0, 0) for number in range(2, MAX_ORDERS + 2)]
    assert not isinstance(slot.take(), RefineOrder | None)


def test_waiting_taker_wakes_for_a_frame_a_poke_and_the_end(new_frame: NewFrame) -> None:
    for wake, gets_frame in (
        (lambda slot: slot.put(new_frame(1)), True),
        (lambda slot: slot.poke(), False),
        (lambda slot: slot.close(), False),
    ):
        slot = Slot()
        threading.Timer(0.02, wake, [slot]).start()
        began = time.monotonic()
        assert (slot.take() is not None) == gets_frame
        assert time.monotonic() - began < 5


def test_closed_slot_gives_nothing(new_frame: NewFrame) -> None:
    slot = Slot()
    slot.put(new_frame(1))
    slot.close()
    assert slot.closed
    assert slot.take() is None

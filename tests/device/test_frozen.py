from __future__ import annotations

import math

from aiflow.device.frozen import FrozenView


def test_same_picture_for_too_long_is_told_once() -> None:
    view = FrozenView(60.0)
    assert [view.look(7, now) for now in (0.0, 30.0, 59.9, 60.0, 61.0, 500.0)] == [
        *(False, False, False, True, False, False)
    ]
    assert view.frozen


def test_another_picture_begins_anew() -> None:
    view = FrozenView(60.0)
    assert not view.look(7, 0.0)
    assert view.look(7, 60.0)
    assert not view.look(8, 61.0)
    assert not view.frozen
    assert not view.look(8, 120.9)
    assert view.look(8, 121.0)


def test_pictures_that_take_turns_are_not_frozen() -> None:
    view = FrozenView(60.0)
    assert not any(view.look(number % 2, float(number)) for number in range(1000))


def test_never() -> None:
    view = FrozenView(math.inf)
    assert not any(view.look(7, 1e9 * number) for number in range(10))

from __future__ import annotations

import pytest

from aiflow.common.mean import Mean


def test_the_first_measurement_is_the_mean_and_later_ones_move_it() -> None:
    mean = Mean()
    assert mean.value is None
    assert mean.known(7.0) == 7.0
    mean.add(0.1)
    assert mean.known(7.0) == 0.1
    mean.add(0.5)
    assert mean.value == pytest.approx(0.2)


def test_a_start_is_moved_by_the_first_measurement() -> None:
    mean = Mean(100.0)
    mean.add(200.0)
    assert mean.value == pytest.approx(125.0)

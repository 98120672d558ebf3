from __future__ import annotations

import random
from itertools import pairwise

import pytest

from aiflow.edge.ranges import Range, Ranges


@pytest.mark.parametrize(
    "numbers, expected",
    [
        ([], []),
        ([5], [(5, 5)]),
        ([1, 2, 3], [(1, 3)]),
        ([3, 2, 1], [(1, 3)]),
        ([1, 3, 2], [(1, 3)]),
        ([1, 5, 3], [(1, 1), (3, 3), (5, 5)]),
        ([1, 1, 1], [(1, 1)]),
        ([0, 9, 8, 1], [(0, 1), (8, 9)]),
    ],
)
def test_numbers_become_ranges(numbers: list[int], expected: list[Range]) -> None:
    ranges = Ranges(10)
    for number in numbers:
        ranges.add(number)
    assert list(ranges) == expected


def test_agrees_with_a_set() -> None:
    rng = random.Random(4)
    ranges, numbers = Ranges(1000), set[int]()
    for _ in range(400):
        number = rng.randrange(300)
        ranges.add(number)
        numbers.add(number)
    assert {n for n in range(-5, 305) if n in ranges} == numbers
    assert ranges.last == max(numbers)
    spans = list(ranges)
    assert all(end + 1 < start for (_, end), (start, _) in pairwise(spans))


def test_the_lowest_range_is_forgotten() -> None:
    ranges = Ranges(2)
    for number in (10, 20, 30):
        ranges.add(number)
    assert list(ranges) == [(20, 20), (30, 30)]
    assert 10 not in ranges


def test_ranges_that_overlap_are_joined_on_loading() -> None:
    assert list(Ranges(9, [(5, 9), (1, 3), (4, 6), (20, 21)])) == [(1, 9), (20, 21)]


def test_empty() -> None:
    assert Ranges(3).last is None
    assert 0 not in Ranges(3)

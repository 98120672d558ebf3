from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra bench")
pytest.importorskip("PIL", reason="needs the extra bench")
pytest.importorskip("pycocoevalcap", reason="needs the extra bench")

from aiflow.bench.baselines.way import Carried, Picture
from aiflow.bench.judge import Answers, Scores
from aiflow.bench.search import (
    Ground,
    ScoredSetting,
    Screened,
    contenders,
    ladder,
    search,
    strongest,
)


@dataclass(frozen=True)
class Way:
    """So many bytes; the first symbols of a frame are wrong, but for the pictures `spared`."""

    size: int
    wrong: int
    spared: int = 0

    family = "made-up"

    @property
    def setting(self) -> str:
        return f"{self.size} bytes, {self.wrong} wrong"

    def carry(self, picture: Picture) -> Carried:
        symbols = picture.symbols.copy()
        if picture.image[0, 0, 0] >= self.spared:
            symbols.ravel()[: self.wrong] ^= 1
        return Carried(symbols, self.size, self.size)


class Counting:
    """CIDEr 1 for a right frame, less by a hundredth for each wrong symbol."""

    def score(self, symbols: np.ndarray, _answers: Answers) -> Scores:
        right = (symbols == 0).reshape(len(symbols), -1)
        ones = np.ones(len(symbols))
        return Scores(ones, ones, ones, ones, 1 - (~right).sum(1) / 100, 0.0)


@pytest.fixture
def ground() -> Iterator[Ground]:
    frames = [
        Picture(np.full((1, 1, 3), index, np.uint8), {}, np.zeros((10, 10), np.uint8))
        for index in range(6)
    ]
    with ThreadPoolExecutor(1) as pool:
        yield Ground(frames, Answers([], []), Counting(), pool, 3)  # type: ignore[arg-type]


def _scored(size: float, share: float) -> ScoredSetting:
    ones = np.ones(2)
    return ScoredSetting(
        Way(int(size), 0), size, size, Scores(ones, ones, ones, ones, ones, 0.0), share
    )


def test_the_cheapest_equal_setting_is_found(ground: Ground) -> None:
    # 1,024 bytes lose nothing; each halving loses more; the best buy lies between the rungs.
    ways = [Way(2 ** (10 - n), 4 * n) for n in range(6)] + [Way(700, 1), Way(1500, 0), Way(650, 3)]
    found = search(ways, ground, 1.0, lambda _: None)
    assert strongest(found).way == Way(700, 1)
    assert [one.bytes_mean for one in found] == sorted(one.bytes_mean for one in found)
    assert Way(1500, 0) not in [one.way for one in found]


def test_what_seemed_to_keep_all_is_not_trusted(ground: Ground) -> None:
    # On the pictures that are screened the cheapest one is as right as the others.
    ways = [Way(100, 4, spared=3), Way(400, 3, spared=3), Way(1000, 0)]
    assert strongest(search(ways, ground, 1.0, lambda _: None)).way == Way(1000, 0)


def test_going_down_ends_where_captions_are_poor(ground: Ground) -> None:
    ways = [Way(2 ** (12 - n), 10 * n) for n in range(10)]
    found = search(ways, ground, 1.0, lambda _: None)
    assert min(one.share for one in found) == pytest.approx(0.6)


def test_a_ladder_has_the_best_of_each_size() -> None:
    screened = [
        Screened(Way(size, 0), size, kept)
        for size, kept in [(100, 0.5), (104, 0.6), (200, 0.8), (260, 0.7), (400, 0.99), (800, 0.99)]
    ]
    assert [one.bytes_mean for one in ladder(screened, 2)] == [104, 200, 400]


def test_the_strongest_is_the_cheapest_equal_one() -> None:
    found = [_scored(100, 0.97), _scored(200, 0.991), _scored(150, 0.99), _scored(900, 1.0)]
    assert strongest(found).bytes_mean == 150
    assert strongest(found).equal


def test_without_an_equal_one_the_best_is_the_strongest_and_says_so() -> None:
    best = strongest([_scored(100, 0.5), _scored(200, 0.95), _scored(400, 0.9)])
    assert best.bytes_mean == 200
    assert not best.equal


def test_contenders_include_one_with_something_to_spare() -> None:
    shares = {50: 0.9, 100: 0.981, 110: 0.982, 120: 0.984, 130: 0.991, 300: 1.0}
    found = [_scored(size, share) for size, share in shares.items()]
    assert [way.size for way in contenders(found)] == [100, 110, 120, 130, 300]  # type: ignore[attr-defined]

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra bench")
pytest.importorskip("zstandard", reason="needs the extra bench")

from aiflow.bench.baselines import features
from aiflow.bench.baselines.features import FixedWay
from aiflow.bench.baselines.split import FloatEncoder
from aiflow.bench.baselines.way import Picture


def test_eight_bits_are_within_half_a_step(
    float_encoder: FloatEncoder, pictures: list[Picture]
) -> None:
    for way in features.all_ways(float_encoder, pictures):
        one = pictures[3].features[way.cut]
        back = way.decode(way.encode(one), one.shape)
        assert (np.abs(back - one) <= 0.501 * way.step).all()


def test_fewer_bits_are_fewer_bytes(float_encoder: FloatEncoder, pictures: list[Picture]) -> None:
    ways = {way.setting: way for way in features.all_ways(float_encoder, pictures)}
    sizes = [ways[f"map in {bits} bits"].carry(pictures[0]).size_bytes for bits in (8, 4, 2)]
    assert sizes == sorted(sizes, reverse=True)
    kept = ways["map in 8 bits"].carry(pictures[0]).symbols == pictures[0].symbols
    assert kept.mean() > 0.9


def test_fixed_width_indices_lose_nothing(pictures: list[Picture]) -> None:
    way = FixedWay((5, 5, 5), 4)
    assert way.token_bits == 7
    carried = way.carry(pictures[0])
    assert carried.size_bytes == 4  # 28 bits
    np.testing.assert_array_equal(carried.symbols, pictures[0].symbols)

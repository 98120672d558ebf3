from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra bench")
pytest.importorskip("PIL", reason="needs the extra bench")

from aiflow.bench.baselines import images
from aiflow.bench.baselines.split import FloatEncoder
from aiflow.bench.baselines.way import Picture


@pytest.mark.parametrize("codec", images.CODECS)
def test_what_comes_back_is_close_to_what_was_sent(codec: str, pictures: list[Picture]) -> None:
    image = pictures[0].image
    back = images.decode(images.encode(image, codec, (640, 480), 90))
    assert back.shape == image.shape
    assert np.abs(back.astype(int) - image).mean() < 6


@pytest.mark.parametrize("codec", images.CODECS)
def test_quality_and_size_cost_bytes(codec: str, pictures: list[Picture]) -> None:
    image = pictures[0].image
    small = len(images.encode(image, codec, (80, 60), 10))
    assert small < len(images.encode(image, codec, (80, 60), 85))
    assert small < len(images.encode(image, codec, (240, 180), 10))


@pytest.mark.parametrize("codec", images.CODECS)
def test_the_container_is_told_from_the_content(codec: str, pictures: list[Picture]) -> None:
    sizes = {"jpeg": (150, 700), "webp": (30, 30), "avif": (100, 400)}
    least, most = sizes[codec]
    for picture in pictures[:3]:
        data = images.encode(picture.image, codec, (96, 72), 40)
        assert least <= images.overhead(data, codec) <= most
        assert images.overhead(data, codec) < len(data)


def test_a_way_carries_a_picture(float_encoder: FloatEncoder, pictures: list[Picture]) -> None:
    way = images.ImageWay(float_encoder, "webp", (160, 120), 85)
    assert (way.family, way.setting) == ("webp", "160x120 quality 85")
    carried = way.carry(pictures[0])
    assert carried.size_bytes > carried.bare_bytes > 0
    assert (carried.symbols == pictures[0].symbols).mean() > 0.7
    assert way.at(10).carry(pictures[0]).size_bytes < carried.size_bytes


def test_the_grid_has_every_codec_at_every_size(float_encoder: FloatEncoder) -> None:
    ways = images.all_ways(float_encoder)
    assert len({way.setting + way.family for way in ways}) == len(ways)
    assert {(way.family, way.size) for way in ways} == {
        (codec, size) for codec in images.CODECS for size in images.SIZES
    }

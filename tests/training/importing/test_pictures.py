"""Which images of a folder are taken, at which size, and which are held out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra import")

from tests.training.importing.made_up import write_images

from aiflow.common.errors import ConfigError
from aiflow.training.importing.pictures import LEAST, MOST, OwnImages, held_out


def test_too_few_images_and_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no directory"):
        OwnImages(tmp_path / "nowhere")
    write_images(tmp_path, LEAST - 1)
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ConfigError, match=f"holds {LEAST - 1} images"):
        OwnImages(tmp_path)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, LEAST)
    whole = (tmp_path / "0003.png").read_bytes()
    (tmp_path / "0003.png").write_bytes(whole[:40])
    with pytest.raises(ConfigError, match=r"0003\.png is broken"):
        list(OwnImages(tmp_path).read((32, 24)))


def test_of_very_many_images_some_are_taken_from_all_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aiflow.training.importing.pictures.MOST", 10)
    for index in range(28):
        shade = np.full((8, 8, 3), 9 * index, np.uint8)
        cv2.imwrite(str(tmp_path / f"{index:02}.png"), shade)
    shades = [int(image[0, 0, 0]) // 9 for image in OwnImages(tmp_path).read((4, 4))]
    assert shades == list(range(0, 28, 3))
    assert MOST > LEAST


def test_a_quarter_is_held_out_in_blocks() -> None:
    assert np.flatnonzero(held_out(40)).tolist() == [12, 13, 14, 15, 28, 29, 30, 31]
    assert np.flatnonzero(held_out(LEAST)).tolist() == [6, 7]

"""The mirror: left and right change places in the picture, the facts and the spots alike."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the extra train")

import torch

from aiflow.street.world import street
from aiflow.training.labels import CELL_ATTRIBUTES, LabelSpace
from aiflow.training.train_encoder import Mirror

SPACE = LabelSpace.of(street())
COLUMNS = 10
MOTION = CELL_ATTRIBUTES.index("motion")


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One thing: near, on the left, going right."""
    images = torch.zeros(1, 4, 6, 3, dtype=torch.uint8)
    images[:, :, 0] = 200
    cells = torch.full((1, len(SPACE.cells), len(CELL_ATTRIBUTES)), -1, dtype=torch.int16)
    cells[..., 0] = 0
    spots = torch.full((1, len(SPACE.cells), 2), -1, dtype=torch.int8)
    place = SPACE.cells.index(("near", "left"))
    cells[0, place] = torch.tensor([3, 2, SPACE.cell_values[MOTION].index("right"), 1])
    spots[0, place] = torch.tensor([5, 1])
    return images, cells, spots


def test_a_mirrored_thing_stands_and_goes_on_the_other_side() -> None:
    images, cells, spots = Mirror(SPACE, COLUMNS)(*scene(), torch.tensor([True]))
    assert images[0, 0, :, 0].tolist() == [0, 0, 0, 0, 0, 200]
    place = SPACE.cells.index(("near", "right"))
    going_left = SPACE.cell_values[MOTION].index("left")
    assert cells[0, place].tolist() == [3, 2, going_left, 1]
    assert spots[0, place].tolist() == [5, COLUMNS - 2]
    empty = torch.ones(len(SPACE.cells), dtype=torch.bool)
    empty[place] = False
    assert cells[0, empty].unique(dim=0).tolist() == [[0, -1, -1, -1]]
    assert spots[0, empty].unique().tolist() == [-1]


def test_two_mirrors_undo_each_other_and_none_changes_nothing() -> None:
    mirror = Mirror(SPACE, COLUMNS)
    once = mirror(*scene(), torch.tensor([True]))
    for changed in (
        mirror(*once, torch.tensor([True])),
        mirror(*scene(), torch.tensor([False])),
    ):
        for before, after in zip(scene(), changed, strict=True):
            assert before.dtype == after.dtype
            assert torch.equal(before, after)

"""What is said of captions that are not quite those of the whole model."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the extra import")

import torch

from aiflow.training.importing.codec import Codec
from aiflow.training.importing.judge import errors_by_stage, stated, words_in_common


@pytest.mark.parametrize(
    "one, other, share",
    [
        ("a red bus", "a red bus", 1),
        ("", "", 1),
        ("a bus", "", 0),
        ("a a bus", "a red bus x", 4 / 7),
    ],
)
def test_words_in_common(one: str, other: str, share: float) -> None:
    assert words_in_common(stated(one), stated(other)) == pytest.approx(share)


def test_errors_are_shares_of_the_variance() -> None:
    """The first stage knows the sign of the first axis, the second that of the second one."""
    codebooks = torch.tensor([[[3.0, 0.0], [-3.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]])
    codec = Codec(torch.full((2,), 5.0), torch.eye(2), codebooks)
    signs = torch.tensor([[3.0, 1.0], [3.0, -1.0], [-3.0, 1.0], [-3.0, -1.0]])
    assert errors_by_stage(codec, 5 + signs[None]) == [pytest.approx(0.1), 0.0]

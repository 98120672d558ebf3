"""Merging against plain loops, k-means, residual stages, and all of it through ONNX."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra import")
pytest.importorskip("onnx", reason="needs the extra import")

import torch
from numpy.typing import NDArray

from aiflow.common.runtime import OnnxModel
from aiflow.training.export import export_graph
from aiflow.training.importing.codec import (
    NEIGHBOURS,
    VECTORS_A_CODE,
    Codec,
    CodecShape,
    Merge,
    fit,
    k_means,
)


def hidden(images: int = 3, tokens: int = 40, width: int = 12, seed: int = 1) -> torch.Tensor:
    """Tokens in a few clouds, as an encoder's are."""
    generator = torch.Generator().manual_seed(seed)
    clouds = 3 * torch.randn(6, width, generator=generator)
    which = torch.randint(6, (images, tokens), generator=generator)
    return clouds[which] + torch.randn(images, tokens, width, generator=generator)


def merged_by_loops(tokens: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """What `Merge` must do, one token at a time."""
    number = len(tokens)
    squared = np.array([[((a - b) ** 2).sum() for b in tokens] for a in tokens])
    squared /= squared.mean()
    density = [np.exp(-np.sort(row)[1 : NEIGHBOURS + 1].mean()) for row in squared]
    scores = []
    for one in range(number):
        denser = [squared[one, other] for other in range(number) if density[other] > density[one]]
        scores.append(density[one] * np.sqrt(min(denser, default=squared[one].max())))
    centres = sorted(range(number), key=lambda one: -scores[one])[:count]
    groups: list[list[int]] = [[] for _ in centres]
    for one in range(number):
        groups[int(np.argmin(squared[one, centres]))].append(one)
    return np.array([tokens[group].mean(axis=0) for group in groups])


@pytest.mark.parametrize("count", [1, 7, 39])
def test_merging_is_density_peaks_most_important_first(count: int) -> None:
    tokens = hidden()
    merged = Merge(count)(tokens)
    for one, of_image in zip(merged, tokens, strict=True):
        wanted = merged_by_loops(of_image.double().numpy(), count)
        np.testing.assert_allclose(one.numpy(), wanted, atol=1e-4)


def test_with_as_many_tokens_as_there_are_nothing_is_merged() -> None:
    tokens = hidden()
    assert torch.equal(Merge(40)(tokens), tokens)


def test_equal_tokens_leave_no_group_empty() -> None:
    merged = Merge(4)(torch.ones(1, 9, 5))
    assert torch.equal(merged, torch.ones(1, 4, 5))


def test_k_means_finds_clouds_and_the_same_seed_finds_the_same() -> None:
    generator = torch.Generator().manual_seed(5)
    clouds = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [9.0, 9.0]])
    vectors = clouds.repeat(50, 1) + 0.1 * torch.randn(200, 2, generator=generator)
    once, again = (k_means(vectors, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(once, again)
    found = torch.cdist(clouds, once)
    assert found.min(dim=1).values.max() < 0.1
    assert sorted(found.argmin(dim=1).tolist()) == [0, 1, 2, 3]


def test_an_empty_code_moves_to_what_is_worst_off() -> None:
    """Three copies of one start: two of them are empty at first."""
    vectors = torch.tensor([[0.0], [0.0], [0.0], [0.0], [8.0], [20.0]])
    centres = k_means(vectors, 3, torch.Generator().manual_seed(0))
    assert sorted(centres[:, 0].tolist()) == [0.0, 8.0, 20.0]


def test_each_stage_leaves_less() -> None:
    tokens = hidden(images=80)
    codec = fit(tokens, CodecShape(tokens=40, stages=4), seed=1)
    symbols = codec.encode(tokens)
    assert symbols.shape == (80, 40, 4)
    errors = []
    for stages in range(5):
        part = Codec(codec.mean, codec.basis, codec.codebooks[:stages])
        back = part(symbols[..., :stages]) if stages else codec.mean
        errors.append(float(((tokens - back) ** 2).mean()))
    assert all(after < 0.9 * before for before, after in pairwise(errors))


def test_there_are_no_more_codes_than_vectors_can_carry() -> None:
    tokens = hidden(images=3)
    assert fit(tokens, CodecShape(40, 2), seed=1).codes == 120 // VECTORS_A_CODE
    assert fit(hidden(images=110), CodecShape(40, 1), seed=1).codes == 255
    assert fit(hidden(images=80), CodecShape(40, 1, codes=17), seed=1).codes == 17


def test_images_of_one_colour_can_be_fitted() -> None:
    tokens = torch.ones(8, 4, 6)
    codec = fit(tokens, CodecShape(4, 2), seed=1)
    assert torch.allclose(codec(codec.encode(tokens)), tokens)


def test_the_same_seed_gives_the_same_codec() -> None:
    one, other = (fit(hidden(images=9), CodecShape(40, 3), seed=4) for _ in range(2))
    assert torch.equal(one.codebooks, other.codebooks)
    assert torch.equal(one.basis, other.basis)


class Ending(torch.nn.Module):
    """Merging and coding in one graph, as an encoder ends."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.merge, self.codec = Merge(9), codec

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.codec.encode(self.merge(tokens)).float()


def test_onnx_gives_the_same_symbols(tmp_path: Path) -> None:
    tokens = hidden(images=20)
    codec = fit(Merge(9)(tokens), CodecShape(9, 3), seed=1)
    whole = Ending(codec)
    export_graph(whole, (tokens[:1],), tmp_path / "a.onnx", ["tokens"], ["symbols"], {})
    model = OnnxModel(tmp_path / "a.onnx")
    for one in hidden(images=20, seed=2)[:, None]:
        (found,) = model.run(one.numpy())
        np.testing.assert_array_equal(found, whole(one).numpy())

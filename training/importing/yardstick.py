"""What the whole, uncompressed model makes of the owner's images: what a bundle is held against."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from aiflow.training.importing.codec import Merge
from aiflow.training.importing.model import Foreign
from aiflow.training.importing.pictures import Pictures, held_out
from aiflow.training.progress import Bar

_Of = TypeVar("_Of")

BATCH: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Of M images: merged tokens (M, K, D), captions as ids, and which are held out (M,)."""

    tokens: torch.Tensor
    captions: list[list[int]]
    held: NDArray[np.bool_]

    def fitted_to(self, of_images: Sequence[_Of]) -> list[_Of]:
        """What belongs to the images that may be fitted to."""
        return [one for one, held in zip(of_images, self.held, strict=True) if not held]

    def held_out(self, of_images: Sequence[_Of]) -> list[_Of]:
        """What belongs to the others."""
        return [one for one, held in zip(of_images, self.held, strict=True) if held]


@torch.no_grad()
def look(foreign: Foreign, pictures: Pictures, merge: Merge) -> Seen:
    """Run the whole model on all images."""
    tokens: list[torch.Tensor] = []
    captions: list[list[int]] = []
    with Bar("run the whole model, images", len(pictures)) as bar:
        for batch in _batches(pictures, foreign.size):
            hidden = foreign.vision(torch.from_numpy(batch).float())
            tokens.append(merge(hidden))
            captions += foreign.caption(hidden)
            bar.show(len(captions))
    return Seen(torch.cat(tokens), captions, held_out(len(pictures)))


def _batches(pictures: Pictures, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    waiting: list[NDArray[np.uint8]] = []
    for image in pictures.read(size):
        waiting.append(image)
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)

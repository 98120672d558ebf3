"""Held-out scenes as a camera sees them: what every quality benchmark is measured on."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.common.street import pose, splits
from aiflow.common.street.render import render
from aiflow.common.street.scene import Scene
from aiflow.common.street.sensor import expose
from aiflow.common.street.world import street

CAMERA_SIZE = (640, 480)
CHUNK = 32


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A scene and its picture uint8 (480, 640, 3) BGR."""

    scene: Scene
    image: NDArray[np.uint8]


def view(split: str, seed: int, index: int) -> View:
    """Draw scene `index` of a split and look at it through the camera model."""
    world = street()
    rng = splits.rng(split, seed, index)
    scene = world.sample_held_out(rng) if split == "heldout" else world.sample(rng)
    image = render(scene, pose.sample(scene, rng, world), CAMERA_SIZE)
    strength = "hard" if split == "hard" else "normal"
    return View(scene, expose(image, rng, strength))


def _chunk(split: str, seed: int, first: int, count: int) -> list[View]:
    cv2.setNumThreads(1)
    return [view(split, seed, index) for index in range(first, first + count)]


def views(split: str, seed: int, count: int, workers: int = 2) -> Iterator[View]:
    """Yield `count` views of a split, rendered by `workers` processes, in order."""
    starts = range(0, count, CHUNK)
    sizes = [min(CHUNK, count - start) for start in starts]
    with ProcessPoolExecutor(workers) as pool:
        for chunk in pool.map(partial(_chunk, split, seed), starts, sizes):
            yield from chunk

"""Held-out scenes as a camera sees them: what every quality benchmark is measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiflow.street import pose, splits
from aiflow.street.render import render
from aiflow.street.scene import Scene
from aiflow.street.sensor import expose
from aiflow.street.world import street

CAMERA_SIZE = (640, 480)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A scene and its picture uint8 (480, 640, 3) BGR."""

    scene: Scene
    image: NDArray[np.uint8]


def view(split: str, seed: int, index: int) -> View:
    """Draw scene `index` of a split and look at it through the camera model."""
    world = street()
    rng = splits.rng(split, seed, index)
    scene = splits.draw(world, split, rng)
    image = render(scene, pose.sample(scene, rng, world), CAMERA_SIZE)
    strength = "hard" if split == "hard" else "normal"
    return View(scene, expose(image, rng, strength))

"""Scenes of the street as a camera sees them, rendered by processes of their own.

The processes are spawned, not forked: a fork of a process that runs threads may wait for ever for
a lock that one of them held.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.street import pose, splits
from aiflow.street.animation import Street
from aiflow.street.render import render
from aiflow.street.scene import Scene
from aiflow.street.sensor import expose
from aiflow.street.world import street

CAMERA_SIZE: Final = (640, 480)
BATCH: Final = 128
"""What is drawn ahead of its use: 118 MB of camera pictures."""
_PIECE: Final = 16
STREET_S: Final = 120.0
"""After so long the live street is another one, with another seed."""

T = TypeVar("T")


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


class RenderPool:
    """Use it with `with`; `seed` decides everything that is drawn."""

    def __init__(self, seed: int, workers: int = 2) -> None:
        self._seed = seed
        spawn = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, spawn, initializer=_end_with_parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def views(self, split: str, first: int, count: int) -> Iterator[View]:
        """Scenes `first` to `first + count` of a split, as a camera sees them."""
        return self._in_order(partial(_view, split, self._seed), first, count)

    def live(
        self, fps: float, count: int, size: tuple[int, int]
    ) -> Iterator[tuple[Scene, NDArray[np.uint8]]]:
        """`count` frames of the live street, reduced to (width, height)."""
        return self._in_order(partial(_live, self._seed, fps, size), 0, count)

    def _in_order(self, draw: Callable[[int], T], first: int, count: int) -> Iterator[T]:
        for start in range(first, first + count, BATCH):
            batch = range(start, min(start + BATCH, first + count))
            yield from self._pool.map(draw, batch, chunksize=_PIECE)


def frames_of_a_street(fps: float) -> int:
    """How many frames are taken before the street changes."""
    return round(STREET_S * fps)


def _end_with_parent() -> None:
    """A process that waits for work does not notice that whoever gives it was killed."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _view(split: str, seed: int, index: int) -> View:
    cv2.setNumThreads(1)
    return view(split, seed, index)


def _live(
    seed: int, fps: float, size: tuple[int, int], index: int
) -> tuple[Scene, NDArray[np.uint8]]:
    cv2.setNumThreads(1)
    number, at = divmod(index, frames_of_a_street(fps))
    frame = Street(seed * 1000 + number).frame(at / fps)
    small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
    return frame.scene, np.asarray(small, np.uint8)

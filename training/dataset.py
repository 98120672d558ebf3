"""Rendered scenes on disk: shards of encoder-sized pictures with their facts.

Rendering is the dearest part of training on two cores, so each picture is rendered once
and kept; a stage that was interrupted goes on with the next missing shard.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.street import pose, splits
from aiflow.street.animation import Street
from aiflow.street.layout import GROUND, SCALE
from aiflow.street.render import render
from aiflow.street.scene import Scene
from aiflow.street.sensor import expose
from aiflow.street.world import World, street
from aiflow.training.labels import LabelSpace

SHARD = 2048
SQUARE = 16
"""Pixels of the picture behind one place of the encoder's feature map."""
RENDER_SIZE = (320, 240)
"""Half the camera's size: the street is resolution independent, and this is four times cheaper."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to render: `count` scenes of a split, reduced to `width` x `height` pixels."""

    split: str
    seed: int
    count: int
    width: int
    height: int
    size: tuple[int, int] = RENDER_SIZE
    hard_every: int = 4

    def name(self, shard: int) -> str:
        size = f"{self.size[0]}-{self.width}x{self.height}"
        return f"{self.split}-{self.seed}-{size}-{self.hard_every}-{shard:05d}.npz"

    def strength(self, index: int) -> str:
        """Every `hard_every`-th picture is seen through the worst camera."""
        return "hard" if index % self.hard_every == self.hard_every - 1 else "normal"


@dataclass(slots=True)
class Pictures:
    """images uint8 (N, H, W, 3) BGR; globals int16 (N, 3); cells int16 (N, 6, 4).

    spots int8 (N, 6, 2): row and column of the 16-pixel square in which each cell's thing
    stands, -1 where there is none.
    """

    images: NDArray[np.uint8]
    globals: NDArray[np.int16]
    cells: NDArray[np.int16]
    spots: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.images)


def picture(world: World, spec: Spec, index: int) -> tuple[Scene, NDArray[np.uint8]]:
    """Render one scene through the camera; the image has the size of `spec.size`."""
    rng = splits.rng(spec.split, spec.seed, index)
    scene = splits.draw(world, spec.split, rng)
    image = render(scene, pose.sample(scene, rng, world), spec.size)
    return scene, expose(image, rng, spec.strength(index))


def render_shard(spec: Spec, shard: int, folder: Path) -> Path:
    """Render one shard into `folder` unless it is there."""
    path = folder / spec.name(shard)
    if path.exists():
        return path
    cv2.setNumThreads(1)
    world = street()
    space = LabelSpace.of(world)
    first = shard * SHARD
    count = min(SHARD, spec.count - first)
    images = np.empty((count, spec.height, spec.width, 3), np.uint8)
    labels = []
    for row in range(count):
        scene, image = picture(world, spec, first + row)
        images[row] = cv2.resize(image, (spec.width, spec.height), interpolation=cv2.INTER_AREA)
        labels.append(space.encode(scene))
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        images=images,
        globals=np.stack([g for g, _ in labels]),
        cells=np.stack([c for _, c in labels]),
    )
    partial.rename(path)
    return path


def _painters(workers: int) -> ProcessPoolExecutor:
    """Spawned, not forked: a fork of a process that runs threads may wait for ever for a lock."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def render_all(spec: Spec, folder: Path, workers: int) -> Iterator[Path]:
    """Render every missing shard, yielding paths in order as they are ready."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = range((spec.count + SHARD - 1) // SHARD)
    with _painters(workers) as pool:
        yield from pool.map(render_shard, [spec] * len(shards), shards, [folder] * len(shards))


def load(spec: Spec, folder: Path) -> Pictures:
    """Load all shards of a spec into memory."""
    labels: dict[str, list[NDArray[np.int16]]] = {"globals": [], "cells": []}
    # Filled shard by shard: the pictures take gigabytes, and two copies might not fit.
    images = np.empty((spec.count, spec.height, spec.width, 3), np.uint8)
    for shard in range((spec.count + SHARD - 1) // SHARD):
        part = np.load(folder / spec.name(shard))
        images[shard * SHARD : (shard + 1) * SHARD] = part["images"]
        for name, values in labels.items():
            values.append(part[name])
    return Pictures(
        images=images,
        globals=np.concatenate(labels["globals"]),
        cells=np.concatenate(labels["cells"]),
        spots=spots(spec),
    )


def spots(spec: Spec) -> NDArray[np.int8]:
    """Where things stand in the pictures of a spec, found without rendering them."""
    world = street()
    space = LabelSpace.of(world)
    found = np.full((spec.count, len(space.cells), 2), -1, np.int8)
    rows, columns = (spec.height + SQUARE - 1) // SQUARE, (spec.width + SQUARE - 1) // SQUARE
    for index in range(spec.count):
        rng = splits.rng(spec.split, spec.seed, index)
        scene = splits.draw(world, spec.split, rng)
        for thing, placed in zip(
            scene.things, pose.sample(scene, rng, world).placements, strict=True
        ):
            # A little above its wheels or feet.
            y = GROUND[thing.distance] + placed.dy - 0.045 * SCALE[thing.distance]
            row = int(y * spec.width / SQUARE)
            column = int(placed.x / len(world.columns) * columns)
            cell = space.cells.index((thing.distance, thing.column))
            found[index, cell] = min(row, rows - 1), min(column, columns - 1)
    return found


def scenes(spec: Spec) -> list[Scene]:
    """Return the scenes of a spec without rendering them."""
    world = street()
    return [
        splits.draw(world, spec.split, splits.rng(spec.split, spec.seed, index))
        for index in range(spec.count)
    ]


STREAM_SEEDS = 1_000_000
"""Live streets from this seed on are for training; everybody else uses smaller ones."""
STREAM_FPS = 2.0


def stream(seed: int, count: int, spec: Spec) -> NDArray[np.uint8]:
    """Frames uint8 (count, H, W, 3) of a live street at two frames a second."""
    cv2.setNumThreads(1)
    live = Street(STREAM_SEEDS + seed)
    size = (spec.width, spec.height)
    return np.stack(
        [
            cv2.resize(
                live.frame(index / STREAM_FPS, spec.size).image, size, interpolation=cv2.INTER_AREA
            )
            for index in range(count)
        ]
    )


def streams(seed: int, streets: int, count: int, spec: Spec, workers: int) -> Iterator[Any]:
    """Frames of several live streets, one after the other."""
    seeds = range(seed * 1000, seed * 1000 + streets)
    with _painters(workers) as pool:
        yield from pool.map(stream, seeds, [count] * streets, [spec] * streets)

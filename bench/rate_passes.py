"""What `aiflow bench rate` is made of: the bundle's parts, and the passes over test scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.bench.baselines import features, fitted, images
from aiflow.bench.baselines.split import FloatEncoder
from aiflow.bench.baselines.way import Picture, Trip, Way, send
from aiflow.bench.coded import Coder
from aiflow.bench.judge import Judge
from aiflow.bench.search import Ground, ScoredSetting, search
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner
from aiflow.common.encoder import Encoder
from aiflow.rig.render_pool import RenderPool, View
from aiflow.street.scene import Scene

THREADS: Final = 2
CAMERA_QUALITY: Final = 75
_BATCH: Final = 64

Say = Callable[[str], None]
Batch = tuple[Sequence[View], Sequence[Picture]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How many scenes are used for what; `frames` are of the live street."""

    scenes: int
    searched: int
    screened: int
    calibration: int
    frames: int

    @classmethod
    def of(cls, scenes: int) -> Self:
        return cls(
            scenes,
            searched=min(scenes, 200),
            screened=min(scenes, 32),
            calibration=max(24, min(scenes, 256)),
            frames=scenes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedBundle:
    """The bundle's parts, as the tiers load them."""

    float_encoder: FloatEncoder
    device_encoder: Encoder
    judge: Judge
    coder: Coder

    @classmethod
    def load(cls, bundle: Bundle) -> Self:
        """The judge is the cloud's decoder. Raises BundleError, RuntimeUnavailable."""
        given = bundle.layers[bundle.manifest.decoders["cloud"].input_layers - 1]
        return cls(
            FloatEncoder.load(bundle),
            Encoder.load(bundle),
            Judge(Captioner(bundle, "cloud", threads=THREADS), given),
            Coder(bundle.tables, bundle.tag, len(bundle.layers)),
        )

    def pictures(self, views: Sequence[View], pool: ThreadPoolExecutor) -> list[Picture]:
        return list(pool.map(lambda view: Picture.of(view.image, self.float_encoder), views))


@dataclass(frozen=True, slots=True, eq=False)
class Passed:
    """All scenes, gone through once.

    `whole` and `ours` (N, K, D) are the symbols of the float encoder and of the device's;
    `jpeg_bytes` the sizes of the camera's frames; `trips` what each way made of the pictures.
    """

    scenes: list[Scene]
    whole: NDArray[np.uint8]
    ours: NDArray[np.uint8]
    jpeg_bytes: list[int]
    trips: list[Trip]


def batches(
    parts: LoadedBundle, renders: RenderPool, first: Batch, count: int, pool: ThreadPoolExecutor
) -> Iterator[Batch]:
    """The batch at hand, then the other test scenes up to `count`."""
    yield first
    drawn = len(first[0])
    rest = renders.views("test", drawn, count - drawn)
    while views := list(islice(rest, _BATCH)):
        yield views, parts.pictures(views, pool)


def go_through(
    parts: LoadedBundle, ways: Sequence[Way], scenes: Iterator[Batch], pool: ThreadPoolExecutor
) -> Passed:
    """Carry all scenes by all ways."""
    passed: list[Scene] = []
    whole, ours, jpeg_bytes = [], [], []
    rows: list[list[Trip]] = []
    for views, pictures in scenes:
        passed += [view.scene for view in views]
        whole += [picture.symbols for picture in pictures]
        ours += [parts.device_encoder.encode(view.image).symbols for view in views]
        jpeg_bytes += [_camera_jpeg(view.image) for view in views]
        rows.append(send(ways, pictures, pool))
    trips = [Trip.joined([row[index] for row in rows]) for index in range(len(ways))]
    return Passed(passed, np.stack(whole), np.stack(ours), jpeg_bytes, trips)


def search_all(
    parts: LoadedBundle, renders: RenderPool, effort: Effort, ground: Ground, whole: float, say: Say
) -> dict[str, list[ScoredSetting]]:
    """The settings of every family that were scored on the searched scenes.

    `whole` is the mean CIDEr without any loss.
    """
    encoder = parts.float_encoder
    drawn = renders.views("calibration", 0, effort.calibration)
    # Nothing is fitted to pixels: they need not be kept.
    calibration = [replace(Picture.of(view.image, encoder), image=view.image[:0]) for view in drawn]
    families: dict[str, Sequence[Way]] = {
        codec: [way for way in images.all_ways(encoder) if way.family == codec]
        for codec in images.CODECS
    }
    families["features"] = features.all_ways(encoder, calibration)
    for cut, family in fitted.FAMILIES.items():
        families[family] = list(fitted.all_ways(encoder, calibration, cut))
    families["fixed"] = [features.FixedWay(parts.coder.tables.levels, parts.coder.tables.tokens)]
    found = {}
    for family, ways in families.items():
        say(f"{family}: {len(ways)} settings")
        found[family] = search(ways, ground, whole, say)
    return found


def _camera_jpeg(image: NDArray[np.uint8]) -> int:
    """Bytes of a frame as an ordinary network camera sends it."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, CAMERA_QUALITY])
    return len(data)

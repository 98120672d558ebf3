from __future__ import annotations

from dataclasses import replace
from itertools import product

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.errors import ConfigError
from aiflow.street import pose, splits
from aiflow.street.pose import Placement, Pose
from aiflow.street.render import render
from aiflow.street.scene import Scene, Thing
from aiflow.street.world import street

WORLD = street()
SMALL = (160, 120)


def reduced(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return cv2.resize(image, SMALL, interpolation=cv2.INTER_AREA).astype(np.float64)


def one(
    thing: Thing, time: str = "day", weather: str = "clear", facing: int = 1
) -> NDArray[np.float64]:
    return reduced(
        render(Scene(time, weather, "town", (thing,)), Pose((Placement(1.5, facing=facing),)))
    )


def test_sizes_are_as_asked_and_every_pixel_is_painted() -> None:
    for size in ((640, 480), (320, 240), (161, 97)):
        rng = splits.rng("test", 0, 0)
        scene = WORLD.sample(rng)
        drawn = pose.sample(scene, rng)
        image = render(scene, drawn, size)
        assert image.shape == (size[1], size[0], 3)
        assert image.dtype == np.uint8
        assert np.array_equal(image, render(scene, drawn, size))


def test_the_picture_does_not_depend_on_the_resolution() -> None:
    differences = []
    for index in range(40):
        rng = splits.rng("test", 1, index)
        scene = WORLD.sample(rng)
        drawn = pose.sample(scene, rng)
        large, small = (reduced(render(scene, drawn, size)) for size in ((640, 480), (320, 240)))
        differences.append(np.abs(large - small).mean())
    assert np.mean(differences) < 2.5
    assert max(differences) < 5


@pytest.mark.parametrize("kind", [kind.name for kind in WORLD.kinds])
@pytest.mark.parametrize("distance", ["near", "far"])
def test_every_kind_motion_and_count_looks_different(kind: str, distance: str) -> None:
    known = WORLD.kind(kind)
    motions = ("still", "left", "right") if known.moves else ("still",)
    looks = [
        one(
            Thing(kind, "red", motion, count, distance, "middle"),
            facing=-1 if motion == "left" else 1,
        )
        for motion, count in product(motions, range(1, len(known.counts) + 1))
    ]
    for i, a in enumerate(looks):
        for b in looks[:i]:
            assert (np.abs(a - b).max(axis=2) > 40).sum() >= 12


def test_kinds_differ_from_each_other_in_silhouette() -> None:
    looks = {k.name: one(Thing(k.name, "red", "still", 1, "far", "middle")) for k in WORLD.kinds}
    for a, b in product(looks, looks):
        if a < b:
            assert (np.abs(looks[a] - looks[b]).max(axis=2) > 40).sum() >= 20, (a, b)


@pytest.mark.parametrize("time", [name for name, _ in WORLD.times])
@pytest.mark.parametrize("weather", [name for name, _ in WORLD.weathers])
def test_colours_stay_apart_in_every_light(time: str, weather: str) -> None:
    # The box of a far truck: the colour that an encoder sees there.
    seen = []
    for colour in WORLD.colours:
        image = one(Thing("truck", colour, "still", 1, "far", "middle"), time, weather)
        seen.append(np.median(image[69:73, 70:80].reshape(-1, 3), axis=0))
    for i, a in enumerate(seen):
        for b in seen[:i]:
            assert np.abs(a - b).max() >= 14


def test_a_near_thing_never_hides_half_of_a_far_one() -> None:
    def where(kind: str, distance: str, placement: Placement) -> NDArray[np.bool_]:
        count = len(WORLD.kind(kind).counts) if distance == "near" else 1
        thing = Thing(kind, "blue", "still", count, distance, "middle")
        scene = replace(empty, things=(thing,))
        seen = render(scene, Pose((placement,)), (320, 240))
        return np.asarray((seen != bare).any(axis=2), np.bool_)

    empty = Scene("day", "clear", "town")
    bare = render(empty, Pose(()), (320, 240))
    kinds = [kind.name for kind in WORLD.kinds]
    hiding = [where(kind, "near", Placement(1.5, -0.008, 1.07)) for kind in kinds]
    for kind in kinds:
        own = where(kind, "far", Placement(1.5, 0.008))
        assert all((own & ~hidden).sum() >= 0.68 * own.sum() for hidden in hiding), kind


def test_globals_are_visible_without_any_thing() -> None:
    base = [Scene(t, w, s) for (t, _), (w, _), (s, _) in product(*_tables())]
    looks = np.stack([render(scene, Pose((), backdrop=3), (80, 60)) for scene in base])
    looks = looks.astype(np.float32)
    for i, image in enumerate(looks):
        others = np.abs(looks - image).mean(axis=(1, 2, 3))
        others[i] = np.inf
        assert others.min() > 1.0, base[i]


def _tables() -> tuple[tuple[tuple[str, float], ...], ...]:
    return WORLD.times, WORLD.weathers, WORLD.settings


def test_houses_stay_when_the_weather_changes() -> None:
    drawn = Pose((), backdrop=9)
    cloudy, snowy = (render(Scene("day", w, "town"), drawn) for w in ("cloudy", "clear"))
    edges = [cv2.Canny(image[200:255], 60, 120) for image in (cloudy, snowy)]
    assert (edges[0] != edges[1]).mean() < 0.1


def test_a_pose_of_another_scene_is_refused() -> None:
    scene = WORLD.sample_held_out(splits.rng("test", 0, 0))
    with pytest.raises(ConfigError):
        render(scene, Pose(()))


def test_extras_are_painted() -> None:
    scene = Scene("day", "clear", "town")
    bus = Thing("bus", "red", "right", 1, "near", "left")
    pose_ = Pose(())
    seen = render(scene, replace(pose_, extras=((bus, Placement(-0.2)),)))
    assert (seen != render(scene, pose_)).any(axis=2).mean() > 0.005

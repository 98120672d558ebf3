from __future__ import annotations

import numpy as np

from aiflow.bench.painters import Painters, frames_of_a_street
from aiflow.bench.scenes import view
from aiflow.common.street.animation import Street


def test_scenes_and_the_live_street_are_what_they_are_elsewhere() -> None:
    with Painters(3, workers=1) as painters:
        views = list(painters.views("test", 5, 2))
        live = list(painters.live(2.0, 3, (160, 120)))
    for index, drawn in enumerate(views):
        expected = view("test", 3, 5 + index)
        assert drawn.scene == expected.scene
        np.testing.assert_array_equal(drawn.image, expected.image)
    assert [scene for scene, _ in live] == [Street(3000).scene(index / 2) for index in range(3)]
    assert live[0][1].shape == (120, 160, 3)


def test_a_street_is_watched_for_two_minutes() -> None:
    assert frames_of_a_street(2.0) == 240

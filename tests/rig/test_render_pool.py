from __future__ import annotations

import os
import select
import subprocess
import sys

import numpy as np

from aiflow.rig.render_pool import RenderPool, frames_of_a_street, view
from aiflow.street.animation import Street


def test_scenes_and_the_live_street_are_what_they_are_elsewhere() -> None:
    with RenderPool(3, workers=1) as renders:
        views = list(renders.views("test", 5, 2))
        live = list(renders.live(2.0, 3, (160, 120)))
    for index, drawn in enumerate(views):
        expected = view("test", 3, 5 + index)
        assert drawn.scene == expected.scene
        np.testing.assert_array_equal(drawn.image, expected.image)
    assert [scene for scene, _ in live] == [Street(3000).scene(index / 2) for index in range(3)]
    assert live[0][1].shape == (120, 160, 3)


def test_a_street_is_watched_for_two_minutes() -> None:
    assert frames_of_a_street(2.0) == 240


def test_when_they_are_killed_no_process_is_left() -> None:
    code = (
        "import multiprocessing; from aiflow.rig.render_pool import RenderPool\n"
        "with RenderPool(3, workers=1) as renders:\n"
        "    list(renders.live(1.0, 1, (16, 12)))\n"
        "    print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "    input()\n"
    )
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere) as process:
        assert process.stdout is not None
        (renderer,) = map(int, process.stdout.readline().split())
        watched = os.pidfd_open(renderer)
        process.kill()
    try:
        assert select.select([watched], [], [], 30.0)[0], "it outlives whoever started it"
    finally:
        os.close(watched)

from __future__ import annotations

import json
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from aiflow.common.errors import CameraError, ConfigError
from aiflow.device.camera import Frame, open_camera, synthetic
from aiflow.street.animation import Street

SMALL = {"width": 64, "height": 48}


def frames(uri: str, count: int, fps: float = 100) -> list[Frame]:
    camera = open_camera(uri, fps, **SMALL)
    read = [camera.read() for _ in range(count)]
    camera.close()
    assert None not in read
    return [frame for frame in read if frame is not None]


def test_frames_are_the_street_of_that_seed() -> None:
    (first, second) = frames("synthetic:street?seed=7&fps=20&strength=none&frames=2", 2)
    street = Street(7)
    assert np.array_equal(first.image, street.frame(0, (64, 48), "none").image)
    assert np.array_equal(second.image, street.frame(0.05, (64, 48), "none").image)
    assert (first.index, second.index) == (0, 1)
    assert second.captured_at - first.captured_at == pytest.approx(0.05, abs=1e-4)


def test_counted_run_ends_and_shows_every_frame() -> None:
    camera = open_camera("synthetic:street?frames=5&fps=50", 2, **SMALL)
    assert [frame.index for _ in range(5) if (frame := camera.read())] == list(range(5))
    assert camera.read() is None
    assert camera.read() is None


def test_frames_that_came_too_late_to_be_read_are_left_out() -> None:
    camera = open_camera("synthetic:street?fps=50", 2, **SMALL)
    first = camera.read()
    time.sleep(0.2)
    late = camera.read()
    assert first is not None
    assert late is not None
    assert late.index >= 9
    assert abs(time.time() - late.captured_at) < 1


def test_truth_is_told_before_the_frame_is(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    camera = open_camera(f"synthetic:street?seed=3&fps=50&frames=3&truth={truth}", 2, **SMALL)
    street = Street(3)
    for number in range(3):
        frame = camera.read()
        assert frame is not None
        lines = [json.loads(line) for line in truth.read_text().splitlines()]
        assert len(lines) == number + 1
        assert lines[-1]["timestamp_ms"] == round(frame.captured_at * 1000)
        assert {tuple(fact) for fact in lines[-1]["facts"]} == street.scene(number / 50).facts()
        jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
        assert lines[-1]["jpeg_bytes"] == len(jpeg)
    camera.close()


@pytest.mark.parametrize(
    "uri, words",
    [
        ("synthetic:moon", "no synthetic world 'moon'"),
        ("synthetic:street?strength=huge", "no camera strength 'huge'; there are none, normal"),
        ("synthetic:street?seed=x", "seed=x is not a positive number"),
    ],
)
def test_options_that_make_no_sense(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        open_camera(uri, 2)


def test_the_last_pictures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "MAX_PICTURES", 2)
    folder = tmp_path / "pictures"
    camera = open_camera(f"synthetic:street?seed=3&fps=50&frames=3&pictures={folder}", 2, **SMALL)
    times = []
    while (frame := camera.read()) is not None:
        times.append(round(frame.captured_at * 1000))
    camera.close()
    assert sorted(path.name for path in folder.iterdir()) == [f"{ms}.jpg" for ms in times[-2:]]
    picture = cv2.imread(str(folder / f"{times[-1]}.jpg"))
    assert picture is not None
    assert picture.shape == (SMALL["height"], SMALL["width"], 3)


def test_truth_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="cannot be written: No such file or directory"):
        open_camera(f"synthetic:street?truth={tmp_path}/absent/truth", 2)

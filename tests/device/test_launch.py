from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiflow.common.errors import CameraError
from aiflow.device import launch as module
from aiflow.device.camera.process import CameraProcess
from aiflow.device.config import CameraConfig
from aiflow.device.launch import Launches, launch

SMALL = {"width": 64, "height": 48}
DOOR = CameraConfig.model_validate({"name": "door", "uri": "synthetic:street", **SMALL})
YARD = CameraConfig.model_validate({"name": "yard", "uri": "synthetic:street", **SMALL})
SHED = CameraConfig.model_validate(
    {"name": "shed", "uri": "synthetic:street", "enabled": False, **SMALL}
)


def test_first_process_of_each_camera_that_is_on_is_started_ahead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []

    def counted(camera: CameraConfig) -> CameraProcess:
        started.append(camera.name)
        return launch(camera)

    monkeypatch.setattr(module, "launch", counted)
    with Launches([DOOR, YARD, SHED]) as launches:
        assert started == ["door", "yard"]
        taken = [launches(DOOR), launches(DOOR), launches(SHED)]
        assert started == ["door", "yard", "door", "shed"]
        assert len({process.pid for process in taken}) == 3
    for process in taken:
        os.kill(process.pid, 0)  # it is the taker's
        assert process.end(0.0)


def test_what_nobody_takes_is_ended() -> None:
    before = _children()
    with Launches([DOOR]):
        (pid,) = _children() - before
    assert _children() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_process_that_cannot_be_started_ahead_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: CameraConfig) -> CameraProcess:
        raise CameraError("its process cannot be started: Too many open files")

    monkeypatch.setattr(module, "launch", refuse)
    with Launches([DOOR]) as launches, pytest.raises(CameraError, match="Too many open files"):
        launches(DOOR)


def _children() -> set[int]:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return {int(pid) for pid in children.split()}

"""Starts the processes of cameras, the first of each ahead of time.

A process takes some hundred milliseconds until it has its imports and an open camera. The daemon
needs as long for its own imports and its models; so both do it at the same time, and this module
imports little.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from aiflow.common.errors import CameraError
from aiflow.device.camera import Source
from aiflow.device.camera.exchange import Order
from aiflow.device.camera.process import CameraProcess
from aiflow.device.config import CameraConfig


def launch(camera: CameraConfig) -> CameraProcess:
    """Start a process that opens this camera. Raises CameraError."""
    live = Source.parse(camera.uri).live
    order = Order(
        camera.uri,
        camera.fps,
        camera.width,
        camera.height,
        checksums=live,
        stall_s=camera.stall_s + 1 / camera.fps,
    )
    return CameraProcess(order)


class Launches:
    """Used with `with`; at its end the processes that nobody has taken are ended."""

    def __init__(self, cameras: Iterable[CameraConfig]) -> None:
        """Start one for each camera that is on. Used by the main thread, which they die with."""
        self._ahead: dict[str, CameraProcess] = {}
        for camera in cameras:
            if camera.enabled:
                # Whoever wants the camera tries again, and says what is wrong.
                with contextlib.suppress(CameraError):
                    self._ahead[camera.name] = launch(camera)

    def __call__(self, camera: CameraConfig) -> CameraProcess:
        """The one that was started ahead, once; then a new one. Raises CameraError."""
        return self._ahead.pop(camera.name, None) or launch(camera)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._ahead.values():
            process.end(0.0)

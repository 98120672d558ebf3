"""Where frames come from: one file per kind of camera, behind one `Camera` interface."""

from __future__ import annotations

from aiflow.device.camera.base import Camera, Frame, Image
from aiflow.device.camera.source import Source

__all__ = ["Camera", "Frame", "Image", "Source", "open_camera"]


def open_camera(  # noqa: PLR0911 - each kind has its line
    uri: str,
    fps: float,
    width: int | None = None,
    height: int | None = None,
    stall_s: float = 3.0,
) -> Camera:
    """Open what stands behind a `uri` (see `Source`), imports included.

    A live camera fails that gives nothing good for `stall_s`.

    Raises CameraError when it cannot be opened, and ConfigError for options that make no sense.
    """
    source = Source.parse(uri)
    if source.origin == "synthetic":
        from aiflow.device.camera import synthetic  # noqa: PLC0415

        size = (width or synthetic.SIZE[0], height or synthetic.SIZE[1])
        return synthetic.SyntheticCamera(source, fps, size)

    if source.origin == "picamera2":
        from aiflow.device.camera import picamera  # noqa: PLC0415

        return picamera.PiCamera(int(source.target), fps, (width, height))

    if source.origin == "path":
        from aiflow.device.camera import files  # noqa: PLC0415

        return files.open_path(source.target, source.shown, fps, loop=source.number("loop", 0) != 0)

    if source.origin == "url" and source.target.lower().startswith("http"):
        from aiflow.device.camera import http_camera  # noqa: PLC0415

        return http_camera.open_http(source.target, source.shown, fps, stall_s)

    from aiflow.device.camera import opencv  # noqa: PLC0415

    if source.origin == "device":
        return opencv.open_device(source.target, fps, (width, height), stall_s)
    if source.origin == "gstreamer":
        return opencv.open_pipeline(source.target, fps, stall_s)
    return opencv.open_url(source.target, source.shown, fps, stall_s)

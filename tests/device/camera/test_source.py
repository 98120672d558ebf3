from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.common.errors import ConfigError
from aiflow.device.camera.source import Source


@pytest.mark.parametrize(
    "uri, source",
    [
        ("0", Source("device", "0")),
        ("/dev/video12", Source("device", "/dev/video12")),
        ("synthetic:street", Source("synthetic", "street")),
        (
            "synthetic:street?seed=7&truth=/tmp/a%20b",
            Source("synthetic", "street", (("seed", "7"), ("truth", "/tmp/a b"))),
        ),
        ("clip.mp4", Source("path", "clip.mp4")),
        ("/a/folder?loop=1", Source("path", "/a/folder", (("loop", "1"),))),
        ("rtsp://cam/1?x=y", Source("url", "rtsp://cam/1?x=y")),
        ("/dev/v4l/by-id/usb-a_b-index0", Source("device", "/dev/v4l/by-id/usb-a_b-index0")),
        ("picamera2:1", Source("picamera2", "1")),
        ("gst:a ! b?c=1 ! appsink", Source("gstreamer", "a ! b?c=1 ! appsink")),
        ("HTTP://cam/a.mjpg", Source("url", "HTTP://cam/a.mjpg")),
    ],
)
def test_kinds_of_uri(uri: str, source: Source) -> None:
    assert Source.parse(uri) == source


@pytest.mark.parametrize(
    "uri, words",
    [
        ("", "uri is empty"),
        ("?loop=1", "uri is empty"),
        ("synthetic:", "uri is empty"),
        ("ftp://x/y", "ftp:// is no camera; schemes are http, https, rtmp, rtsp, rtsps"),
        ("picamera2:", "picamera2: is no camera; the first one is picamera2:0"),
        ("picamera2:front", "picamera2:front is no camera"),
        ("gst: ", "gst: needs a pipeline behind it"),
        ("0?loop=1", "camera option 'loop' is unknown here; known are none"),
        ("synthetic:street?sed=1", "known are fps, frames, pictures, seed, strength, truth"),
    ],
)
def test_faults(uri: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Source.parse(uri)


@pytest.mark.parametrize(
    "uri, live",
    [
        ("0", True),
        ("rtsp://cam/1", True),
        ("gst:x", True),
        ("picamera2:0", True),
        ("synthetic:street", False),
        ("clip.mp4", False),
    ],
)
def test_live_is_what_has_a_sensor_behind_it(uri: str, live: bool) -> None:
    assert Source.parse(uri).live is live


def test_options() -> None:
    source = Source.parse("synthetic:street?seed=7&fps=x")
    assert source.number("seed", 0) == 7
    assert source.number("frames", 3) == 3
    assert source.option("strength", "normal") == "normal"
    for text in ("x", "-1", "nan", "inf"):
        with pytest.raises(ConfigError, match=f"fps={text} is not a positive number"):
            Source.parse(f"synthetic:street?fps={text}").number("fps", 2)


def test_password_of_a_url_is_not_shown() -> None:
    assert Source.parse("rtsp://me:s3cret@cam:554/1").shown == "rtsp://cam:554"
    assert Source.parse("rtsp://cam/1?to=a@b").shown == "rtsp://"


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://admin:s3@cret@host/",
        "rtsp://admin:s3/cret@host/",
        "rtsp://admin:s3#cret@host/",
        "rtsp://admin:s3?cret@host/",
        "rtsp://admin:33/s3cret@host/",
        "rtsp://host:554/user=admin&password=s3cret",
        "rtsp://host/live?pwd=s3cret",
        "rtsp:/admin:s3cret@host/",
        "rtsp//admin:s3cret@host/",
        "rtsp:admin:s3cret@host",
        "rstp://admin:s3cret@host/",
        "admin:s3cret@host/stream",
        "host/cgi?s3cret",
        "host/cgi?user=admin&s3cret=1",
        "gst:rtspsrc location=rtsp://host user-id=a user-pw=s3cret ! appsink",
        "http://[s3cret/",
        "http://host:s3cret/",
    ],
)
def test_nothing_secret_is_shown(uri: str) -> None:
    try:
        shown = Source.parse(uri).shown
    except ConfigError as error:
        shown = str(error)
    for secret in ("s3", "cret", "admin"):
        assert secret not in shown


def test_what_a_path_is_decides_and_not_its_name(tmp_path: Path) -> None:
    camera = tmp_path / "front"
    camera.symlink_to("/dev/null")
    assert Source.parse(str(camera)).origin == "device"
    assert Source.parse("/dev/frontcam").origin == "device", "which is not plugged in now"
    (tmp_path / "video0").write_bytes(b"")
    assert Source.parse(str(tmp_path / "video0")).origin == "path"

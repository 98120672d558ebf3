"""GStreamer's RTSP server with a test picture, for the system's own Python; the port comes first.

/usr/bin/python3 gstreamer_rtsp.py [FRAMES FROM KEY FRAME TO KEY FRAME]

H.264 as network cameras send it, or JPEG where this GStreamer has no encoder for it. Exit status 3
where something is missing.
"""

from __future__ import annotations

import sys
from typing import Any

PICTURE = "videotestsrc is-live=true pattern=ball ! video/x-raw,width=160,height=120,framerate=25/1"
PAY = "rtph264pay name=pay0 config-interval=-1"
CODINGS = {
    "x264enc": "x264enc tune=zerolatency key-int-max={gop} ! {pay}",
    "openh264enc": "openh264enc gop-size={gop} ! h264parse ! {pay}",
    "jpegenc": "jpegenc ! rtpjpegpay name=pay0",
}


def modules() -> tuple[Any, Any, Any]:
    import gi  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import (  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
        GLib,
        Gst,
        GstRtspServer,
    )

    return GLib, Gst, GstRtspServer


def main() -> None:
    try:
        glib, gst, rtsp = modules()
    except (ImportError, ValueError):
        sys.exit(3)
    gst.init(None)
    coding = next((line for name, line in CODINGS.items() if gst.ElementFactory.find(name)), None)
    if coding is None or not gst.ElementFactory.find("videotestsrc"):
        sys.exit(3)
    server = rtsp.RTSPServer(address="127.0.0.1", service="0")
    factory = rtsp.RTSPMediaFactory(shared=True)
    coding = coding.format(gop=sys.argv[1] if len(sys.argv) > 1 else 25, pay=PAY)
    factory.set_launch(f"( {PICTURE} ! videoconvert ! {coding} )")
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    glib.MainLoop().run()


if __name__ == "__main__":
    main()

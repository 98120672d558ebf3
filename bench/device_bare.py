"""`python -m aiflow.bench.device_bare JOB`: frames rendered and encoded, and nothing else.

They are the frames of the device's camera, at its pace, as long as that can be held: a processor
that sleeps between frames has cold caches, and so does the device's.
"""

from __future__ import annotations

import json
import os
import sys
import time

import cv2

from aiflow.common.bundle import Bundle
from aiflow.common.encoder import Encoder
from aiflow.common.street.animation import Street
from aiflow.device.camera.base import Pace
from aiflow.device.camera.synthetic import SIZE


def main() -> None:
    """Write as JSON the CPU time in ms to render a frame, and to encode it.

    The job is JSON, too: seed, fps, frames (the first, and the one after the last), core or null.
    """
    job = json.loads(sys.argv[1])
    if job["core"] is not None:
        os.sched_setaffinity(0, {job["core"]})
    cv2.setNumThreads(1)
    encoder = Encoder.load(Bundle.open("street"))
    street = Street(job["seed"])
    pace = Pace(job["fps"])
    render_s = encode_s = 0.0
    frames = range(*job["frames"])
    for index in frames:
        pace.wait()
        began = time.process_time()
        image = street.frame(index / job["fps"], SIZE, "normal").image
        rendered = time.process_time()
        encoder.encode(image)
        render_s += rendered - began
        encode_s += time.process_time() - rendered
    json.dump([1000 * one / len(frames) for one in (render_s, encode_s)], sys.stdout)


if __name__ == "__main__":
    main()

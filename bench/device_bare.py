"""`python -m aiflow.bench.device_bare JOB`: a camera's frames decoded and encoded, nothing else.

One plain loop with the device's own camera and encoder, at the device's pace as long as that can be
held: a processor that sleeps between frames has cold caches, and so does the device's.
"""

from __future__ import annotations

import json
import os
import sys
import time

import cv2

from aiflow.common.bundle import Bundle
from aiflow.common.encoder import Encoder
from aiflow.device.camera import open_camera


def main() -> None:
    """Write as JSON the CPU time in ms to decode a frame, and to encode it.

    The job is JSON, too: uri, fps, frames (the first that counts, and the one after the last), core
    or null.
    """
    job = json.loads(sys.argv[1])
    if job["core"] is not None:
        os.sched_setaffinity(0, {job["core"]})
    cv2.setNumThreads(1)
    encoder = Encoder.load(Bundle.open("street"))
    camera = open_camera(job["uri"], job["fps"])
    first, stop = job["frames"]
    decode_s = encode_s = 0.0
    counted = 0
    while True:
        began = time.process_time()
        frame = camera.read()
        # A street that falls back leaves frames out: one, at least, is to count.
        if frame is None or (counted and frame.index >= stop):
            break
        decoded = time.process_time()
        encoder.encode(frame.image)
        if frame.index >= first:
            decode_s += decoded - began
            encode_s += time.process_time() - decoded
            counted += 1
    camera.close()
    if not counted:
        sys.exit(f"the camera ended before frame {first}")
    json.dump([1000 * one / counted for one in (decode_s, encode_s)], sys.stdout)


if __name__ == "__main__":
    main()

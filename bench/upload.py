"""The baseline of the case study: pictures travel, and whoever gets them captions them.

    camera -> freshest frame -> image codec -> MQTT --- link --- broker -> decode, encode, caption

Two processes, each `python -m aiflow.bench.upload JSON`. They do no more than such a system must:
no gate, no outbox, no receipts. The next picture leaves when the broker has acknowledged the one
before, and it is the freshest there is: a slow link never builds a queue of old pictures.
"""

from __future__ import annotations

import queue
import struct
import sys
import threading
import time
from contextlib import suppress
from typing import Literal

from pydantic import BaseModel

from aiflow.bench.baselines import images
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.config import Broker
from aiflow.common.encoder import Encoder
from aiflow.common.messages import Caption, CaptionBytes, Latency
from aiflow.common.mqtt import Outgoing, Properties, Reason, Session
from aiflow.common.signals import caught_signals
from aiflow.common.topics import Topics
from aiflow.device.camera import Frame, open_camera

_STAMP = struct.Struct(">d")
"""In front of each picture: when it was taken, seconds since 1970."""
DEVICE = CAMERA = "upload"
PICTURES = "upload/pictures"
CAPTIONS = Topics().event(DEVICE, CAMERA)
ANSWER_S = 300.0


class PictureCodec(BaseModel):
    """How pictures are coded; size (width, height) in pixels."""

    codec: Literal["jpeg", "webp", "avif"]
    size: tuple[int, int]
    quality: int

    def __str__(self) -> str:
        width, height = self.size
        return f"{self.codec.upper()} {width}x{height} quality {self.quality}"


class UploadJob(BaseModel):
    """What one of the two processes is to do."""

    role: Literal["camera", "edge", "cloud"]
    host: str
    port: int
    uri: str = ""
    fps: float = 2.0
    picture: PictureCodec | None = None


def main(text: str) -> None:
    """Work until SIGTERM."""
    job = UploadJob.model_validate_json(text)
    session = Session(Broker(host=job.host, port=job.port), f"upload-{job.role}")
    if job.picture is not None:
        work = threading.Thread(target=_upload, args=(job, job.picture, session), daemon=True)
    else:
        waiting: queue.Queue[bytes] = queue.Queue(maxsize=8)

        def take(_topic: str, payload: bytes, _properties: Properties) -> None:
            if not waiting.full():
                waiting.put_nowait(payload)

        session.subscribe(PICTURES, 1, take)
        work = threading.Thread(target=_caption, args=(job, waiting, session), daemon=True)
    with caught_signals() as caught:
        session.start()
        work.start()
        caught.get()
    session.close(drain_s=0.0)


def _upload(job: UploadJob, picture: PictureCodec, session: Session) -> None:
    """Pictures of the camera, one at a time."""
    freshest: queue.Queue[Frame] = queue.Queue(maxsize=1)
    session.wait_connected(ANSWER_S)
    threading.Thread(target=_look, args=(job, freshest), daemon=True).start()
    while True:
        frame = freshest.get()
        data = images.encode(frame.image, picture.codec, picture.size, picture.quality)
        answered = threading.Event()

        def on_accepted(_reason: Reason | None, answered: threading.Event = answered) -> None:
            answered.set()

        payload = _STAMP.pack(frame.captured_at) + data
        if session.publish(Outgoing(PICTURES, payload, qos=1, alias=True, on_accepted=on_accepted)):
            answered.wait(ANSWER_S)


def _look(job: UploadJob, freshest: queue.Queue[Frame]) -> None:
    camera = open_camera(job.uri, job.fps)
    while (frame := camera.read()) is not None:
        with suppress(queue.Empty):
            freshest.get_nowait()
        freshest.put(frame)


def _caption(job: UploadJob, waiting: queue.Queue[bytes], session: Session) -> None:
    """Captions of pictures, as an edge node or a cloud worker of the same bundle makes them."""
    bundle = Bundle.open("street")
    encoder = Encoder.load(bundle)
    captioner = Captioner(bundle, job.role)
    while True:
        payload = waiting.get()
        began = time.time()
        (captured_at,) = _STAMP.unpack_from(payload)
        image = images.decode(payload[_STAMP.size :])
        (draft,) = captioner.caption([Request(encoder.encode(image).symbols)])
        now = time.time()
        caption = Caption(
            id=f"{captured_at:.6f}",
            device=DEVICE,
            camera=CAMERA,
            timestamp=captured_at,
            type="new",
            text=draft.text,
            confidence=draft.confidence,
            tier="cloud" if job.role == "cloud" else "edge",
            mode="image",
            bytes=CaptionBytes(embedding=len(payload), uplink=len(payload)),
            latency_s=Latency(decode=now - began, total=now - captured_at),
            bundle=bundle.id,
            late=False,
            sequence=0,
        )
        session.publish(Outgoing(CAPTIONS, caption.to_json(), qos=1))


if __name__ == "__main__":
    main(sys.argv[1])

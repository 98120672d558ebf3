from __future__ import annotations

import cv2
import numpy as np
import pytest

from aiflow.common.bundle import BundleCoding
from aiflow.common.codec import Tables
from aiflow.common.encoder import Encoder, Encoding, Image
from aiflow.common.errors import PayloadMalformed
from aiflow.common.symbols import decode
from aiflow.common.wire import Context, Header, unpack
from aiflow.edge.image_encoder import ImageEncoder, decoded
from aiflow.edge.received import FrameKey, PictureFrame, StreamKey

TABLES = Tables.uniform(6, 3, 5, layers=(4, 6))
CONTEXT = Context("pi", "door", 1_700_000_000_000)
_, CODED = cv2.imencode(".jpg", np.full((48, 64, 3), 100, np.uint8))
JPEG = CODED.tobytes()


class FakeEncoder(Encoder):
    loads = 0

    def __init__(self) -> None:
        FakeEncoder.loads += 1

    def encode(self, image: Image) -> Encoding:
        symbols = np.full((6, 3), int(image.mean()) % 5, np.uint8)
        return Encoding(symbols, symbols.astype(np.float32))


def picture(jpeg: bytes = JPEG) -> PictureFrame:
    return PictureFrame(
        key=FrameKey(StreamKey("pi", "door", CONTEXT.epoch_ms), 7),
        payload=jpeg,
        captured_s=1.0,
        received_s=2.0,
        received_at=3.0,
        late=False,
        coding=BundleCoding("ab" * 32, b"\xab\xab", TABLES),
        uplink_bytes=len(jpeg),
        jpeg=jpeg,
        header=Header(b"\xab\xab", 7, 9, 1),
        context=CONTEXT,
    )


def test_a_picture_becomes_what_its_device_would_have_sent() -> None:
    FakeEncoder.loads = 0
    image_encoder = ImageEncoder(lambda _bundle: FakeEncoder())
    assert FakeEncoder.loads == 0, "most nodes never see a picture"
    frame = image_encoder.encode(picture())
    image_encoder.encode(picture())
    assert FakeEncoder.loads == 1
    assert frame.pictured
    assert (frame.key, frame.uplink_bytes) == (picture().key, len(JPEG))
    (payload,) = frame.payloads
    packet = unpack(payload, CONTEXT)
    assert (packet.sequence, packet.captured_ms, packet.layers) == (7, 9, 2)
    assert np.array_equal(decode(packet, TABLES, {}).symbols, frame.decoded.symbols)


def bomb() -> bytes:
    at = JPEG.index(b"\xff\xc0")
    return JPEG[: at + 5] + b"\xff\xff\xff\xff" + JPEG[at + 9 :]


@pytest.mark.parametrize(
    "jpeg, words",
    [
        (b"\xff\xd8\xff", "frame header"),
        (b"\xff\xd8\xff" + bytes(40), "frame header"),
        (bomb(), "65535x65535"),
        (JPEG[: JPEG.index(b"\xff\xda")], "decoded"),
    ],
)
def test_what_is_no_picture_is_refused(jpeg: bytes, words: str) -> None:
    with pytest.raises(PayloadMalformed, match=words):
        decoded(jpeg)


def test_no_bytes_make_it_fail_otherwise() -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        damaged = bytearray(JPEG)
        for at in rng.integers(3, len(damaged), 4):
            damaged[at] = rng.integers(256)
        try:
            image = decoded(bytes(damaged))
        except PayloadMalformed:
            continue
        assert image.dtype == np.uint8

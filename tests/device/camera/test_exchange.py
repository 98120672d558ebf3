from __future__ import annotations

import pytest

from aiflow.common.errors import CameraError
from aiflow.device.camera.exchange import (
    MAX_BYTES,
    Ended,
    Failed,
    Message,
    Opened,
    Order,
    Shot,
    pack,
    unpack,
)


@pytest.mark.parametrize(
    "message",
    [Opened(), Ended(), Failed("it is not there; plug it in"), Shot(2, 480, 640, 1.5, 7, 0xFFFF)],
)
def test_message_is_what_it_was(message: Message) -> None:
    assert unpack(pack(message)) == message


def test_order_is_what_it_was() -> None:
    order = Order("rtsp://me:s3cret@cam/1?a=b", 2.5, None, 480, checksums=True)
    assert Order.unpack(order.pack()) == order


def test_fault_is_cut_rather_than_too_long() -> None:
    packet = pack(Failed("ä" * MAX_BYTES))
    assert len(packet) < MAX_BYTES
    assert unpack(packet) == Failed("ä" * 1000)


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x80\x04K\x01.",
        b"[]",
        b"{}",
        b'["Opened"]',
        b'["Launched", {}]',
        b'["Opened", {"x": 1}]',
        b'["Failed", {"fault": 1}]',
        b'["Shot", {"slot": 0, "height": 1, "width": 1, "captured_at": "x", "index": 0}]',
        b'["Shot", {"slot": 0.5, "height": 1, "width": 1, "captured_at": 1.0, "index": 0}]',
        b'["Shot", {"slot": true, "height": 1, "width": 1, "captured_at": 1.0, "index": 0}]',
        b"[" * 50_000,
    ],
    ids=lambda packet: packet[:40],
)
def test_nonsense(packet: bytes) -> None:
    with pytest.raises(CameraError, match="its process says what makes no sense"):
        unpack(packet)

from __future__ import annotations

import pytest

from aiflow.bench import socket_bytes
from aiflow.bench.coded import CAMERA, DEVICE, Sending, Sent
from aiflow.common.mqtt import publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import Kind, pack_receipt


def test_the_relay_counts_what_mqtt_prescribes() -> None:
    first = 172_800
    payload = bytes([1 << 4 | Kind.KEY]) + bytes(19)
    went = Sending(
        frames=[
            Sent(first + index, payload, asked=index < 2, timed=index > 9) for index in range(12)
        ],
        receipts=[(4, list(range(first, first + 4))), (12, list(range(first + 4, first + 12)))],
    )
    found = socket_bytes.measure(went)
    topics = Topics()
    embedding, receipt = topics.embedding(DEVICE, CAMERA), topics.receipt(DEVICE, CAMERA)
    up = 2 * publish_size(0, 20, qos=1, alias=True, expiry=True)
    up += 8 * publish_size(0, 20, alias=True) + 2 * publish_size(0, 20, qos=1, alias=True)
    # The topic itself is sent until the broker's acknowledgement of its alias has been read, which
    # a busy machine may do late.
    topics_sent = (found.up * 12 - up) / len(embedding)
    assert topics_sent == pytest.approx(round(topics_sent))
    assert 1 <= round(topics_sent) <= 4
    down = 4 * 4  # PUBACKs
    for _, sequences in went.receipts:
        down += publish_size(len(receipt), len(pack_receipt(sequences)))
    assert found.down * 12 == pytest.approx(down)
    assert found.mean == found.up + found.down
    assert found.setup > 0
    assert found.frames_per_receipt == 6

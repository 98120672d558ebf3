from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from aiflow.common.errors import PayloadError, PayloadMalformed, UnknownVersion
from aiflow.common.messages import (
    MAX_MESSAGE_BYTES,
    Caption,
    CaptionBytes,
    CloudReply,
    CloudSeconds,
    Descriptor,
    DeviceStats,
    EdgeStats,
    Latency,
    Message,
    caption_id,
)

DESCRIPTOR = Descriptor(
    device="porch",
    camera="north",
    bundle="3fa2" + "0" * 60,
    bundle_name="street",
    tokens=14,
    dims=3,
    levels=(8, 8, 5),
    layers=(7, 14),
    epoch_ms=1_760_000_000_000,
    width=640,
    height=480,
    software="aiflow 0.1.0",
)
CAPTION = Caption(
    id=caption_id("porch", "north", 1_760_000_000_000, 300),
    device="porch",
    camera="north",
    timestamp=1_760_000_012.5,
    type="new",
    text="a red bus waits",
    confidence=0.97,
    tier="edge",
    mode="split",
    bytes=CaptionBytes(embedding=23, uplink=61),
    latency_s=Latency(queue=0.001, decode=0.008, total=0.021),
    bundle="3fa2" + "0" * 60,
    late=False,
    sequence=300,
)
REPLY = CloudReply(
    tokens=(5, 130, 9),
    text="a red bus waits",
    confidence=0.99,
    accepted=2,
    drafted=3,
    passes=2,
    seconds=CloudSeconds(queue=0.0, compute=0.03),
    worker="w1",
)
STATS = DeviceStats(
    device="porch",
    timestamp=1.5,
    uptime_s=60.0,
    software="aiflow 0.1.0",
    counters={"frames": 120},
    values={"load": 0.5, "threads": 1, "on": True},
    cameras={"north": {"status": "online", "fps": 2}},
)
NODE = EdgeStats(
    node="edge1", timestamp=1.5, uptime_s=60.0, software="aiflow 0.1.0", counters={"captions": 7}
)
MESSAGES: list[Message] = [DESCRIPTOR, CAPTION, REPLY, STATS, NODE]
each = pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)


@each
def test_round_trip(message: Message) -> None:
    assert type(message).from_json(message.to_json()) == message
    assert type(message).from_json(bytearray(message.to_json())) == message


@each
def test_unknown_fields_are_read_over_and_never_written(message: Message) -> None:
    content = json.loads(message.to_json())
    assert type(message).from_json(json.dumps(content | {"novel": [1]}).encode()) == message
    with pytest.raises(ValidationError):
        type(message).model_validate(content | {"novel": 1})


@each
def test_messages_are_frozen(message: Message) -> None:
    with pytest.raises(ValidationError):
        message.device = "other"  # type: ignore[attr-defined]


def test_a_caption_as_json() -> None:
    assert json.loads(CAPTION.to_json()) == {
        "id": "porch/north/199c82cc000-300",
        "device": "porch",
        "camera": "north",
        "timestamp": 1_760_000_012.5,
        "type": "new",
        "text": "a red bus waits",
        "confidence": 0.97,
        "tier": "edge",
        "mode": "split",
        "bytes": {"embedding": 23, "uplink": 61},
        "latency_s": {"queue": 0.001, "decode": 0.008, "total": 0.021},
        "bundle": "3fa2" + "0" * 60,
        "late": False,
        "sequence": 300,
        "reason": "",
    }


@pytest.mark.parametrize("message", [DESCRIPTOR, REPLY, STATS, NODE])
@pytest.mark.parametrize("version", [0, 2, "1", 1.5, [1]])
def test_other_versions(message: Message, version: object) -> None:
    content = json.loads(message.to_json()) | {"version": version, "bundle": {}}
    with pytest.raises(UnknownVersion, match="reads 1"):
        type(message).from_json(json.dumps(content).encode())


@pytest.mark.parametrize("message", [DESCRIPTOR, REPLY, STATS, NODE])
def test_no_version(message: Message) -> None:
    content = json.loads(message.to_json())
    del content["version"]
    with pytest.raises(PayloadMalformed, match="no version"):
        type(message).from_json(json.dumps(content).encode())


@each
@pytest.mark.parametrize(
    "payload",
    [b"", b"{}", b"[]", b"null", b"7", b"{", b"\xff", b"[" * 5000, b"9" * 5000, b'{"version":1}'],
)
def test_not_this_message(message: Message, payload: bytes) -> None:
    with pytest.raises(PayloadMalformed, match=type(message).__name__):
        type(message).from_json(payload)


def test_too_long() -> None:
    with pytest.raises(PayloadMalformed, match="too long"):
        Caption.from_json(CAPTION.to_json() + b" " * MAX_MESSAGE_BYTES)


@pytest.mark.parametrize(
    "field, value",
    [
        ("confidence", 1.5),
        ("confidence", "0.5"),
        ("type", "old"),
        ("tier", "moon"),
        ("text", "x" * 1001),
        ("sequence", -1),
        ("device", ""),
        ("bundle", "street"),
        ("timestamp", float("nan")),
        ("bytes", {"embedding": 1}),
    ],
)
def test_fields_of_a_caption_are_checked(field: str, value: object) -> None:
    content = json.loads(CAPTION.to_json()) | {field: value}
    with pytest.raises(PayloadMalformed, match=field):
        Caption.from_json(json.dumps(content).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"levels": [8, 8]},
        {"levels": [8, 8, 1]},
        {"layers": []},
        {"layers": [7, 13]},
        {"layers": [14, 14]},
        {"layers": [7, 5, 14]},
        {"epoch_ms": -1},
        {"codec": "other"},
    ],
)
def test_descriptor_fits_together(change: dict[str, object]) -> None:
    content = json.loads(DESCRIPTOR.to_json()) | change
    with pytest.raises(PayloadMalformed, match="Descriptor"):
        Descriptor.from_json(json.dumps(content).encode())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(st.sampled_from(MESSAGES), st.integers(0, 20), JSON)
def test_any_value_in_any_field(message: Message, index: int, value: object) -> None:
    content = json.loads(message.to_json())
    content[list(content)[index % len(content)]] = value
    with suppress(PayloadError):
        type(message).from_json(json.dumps(content).encode())

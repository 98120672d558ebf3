"""The discovery message, as Home Assistant wants it (tests/homeassistant asks it itself)."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from aiflow.common.errors import PayloadMalformed
from aiflow.common.topics import Topics
from aiflow.device.entities import (
    MAX_BYTES,
    PLATFORMS,
    describe,
    discovery_id,
    discovery_topic,
    message,
    stale_after_s,
    withdrawn,
)

TOPICS = Topics()


def parsed(*cameras: str, stale_s: int | None = 300) -> dict[str, Any]:
    components = describe(TOPICS, "pi", cameras, stale_s, cameras)
    content: dict[str, Any] = json.loads(message(TOPICS, "pi", components))
    return content


def test_one_message_for_the_whole_device() -> None:
    content = parsed("door", "yard")
    assert set(content) == {"device", "origin", "availability", "components"}
    # Home Assistant refuses the whole message for a key of these that it does not know.
    assert set(content["device"]) == {"identifiers", "name", "manufacturer", "model", "sw_version"}
    assert set(content["origin"]) == {"name", "sw_version"}
    assert content["device"]["identifiers"] == ["aiflow-pi"]
    assert content["availability"] == [{"topic": "aiflow/pi/available"}]
    assert len(content["components"]) == 2 * len(PLATFORMS)


def test_entities_of_a_camera() -> None:
    components = parsed("door")["components"]
    for leaf, platform in PLATFORMS.items():
        one = components[f"door_{leaf}"]
        assert one["platform"] == platform
        assert one["unique_id"] == f"aiflow-pi/door/{leaf}"
        assert one["default_entity_id"] == f"{platform}.pi door {leaf}"
        assert "object_id" not in one
    own = "aiflow/pi/door"
    assert {key: value.get("state_topic") for key, value in components.items()} == {
        "door_caption": f"{own}/caption",
        "door_confidence": f"{own}/caption",
        "door_tier": f"{own}/caption",
        "door_latency": f"{own}/caption",
        "door_uplink": f"{own}/caption",
        "door_connection": f"{own}/status",
        "door_enabled": f"{own}/enabled/state",
        "door_event": f"{own}/event",
        "door_snapshot": None,
    }
    assert components["door_snapshot"]["image_topic"] == f"{own}/snapshot"
    assert components["door_enabled"]["command_topic"] == f"{own}/enabled/set"
    assert components["door_caption"]["value_template"] == "{{ value_json.text[:255] }}"
    assert components["door_caption"]["json_attributes_topic"] == f"{own}/caption"
    assert components["door_event"]["event_types"] == ["new", "update", "trigger"]


def test_captions_count_only_while_the_camera_looks_and_are_not_old() -> None:
    components = parsed("door")["components"]
    for leaf in ("caption", "confidence", "tier", "latency", "uplink"):
        one = components[f"door_{leaf}"]
        assert [where["topic"] for where in one["availability"]] == [
            "aiflow/pi/available",
            "aiflow/pi/door/status",
        ]
        assert one["availability_mode"] == "all"
        assert one["expire_after"] == 300
    seen = components["door_snapshot"]
    assert seen["availability"] == components["door_caption"]["availability"]
    assert "expire_after" not in seen  # which Home Assistant does not know of a picture
    for leaf in ("connection", "enabled", "event"):
        assert not {"availability", "expire_after"} & set(components[f"door_{leaf}"])
    assert "expire_after" not in parsed("door", stale_s=None)["components"]["door_caption"]


@pytest.mark.parametrize(
    "interval_s, stale_s",
    [(30.0, 300), (0.5, 60), (8640.0, 86_400), (8641.0, None), (float("inf"), None)],
)
def test_age_at_which_a_caption_is_old(interval_s: float, stale_s: int | None) -> None:
    assert stale_after_s(interval_s) == stale_s


def test_topic_of_a_device() -> None:
    assert discovery_topic("homeassistant", discovery_id("aiflow", "gate-pi_2")) == (
        "homeassistant/device/aiflow-gate-pi_2/config"
    )


def test_ids_are_fit_for_the_topic_and_no_two_devices_share_one() -> None:
    names = ["pi", "x-pi", "x_pi", "x.pi", "Gäste Pi", "日本", "-pi", "_"]
    prefixes = ["aiflow", "aiflow-x", "home/aiflow", "aiflow/x"]
    ids = {discovery_id(prefix, name) for prefix in prefixes for name in names}
    assert len(ids) == len(prefixes) * len(names)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", one) for one in ids)


def test_no_two_entities_share_an_id() -> None:
    cameras = ["a", "a_b", "a b", "a.b", "a%20b", "a_caption"]
    components = describe(TOPICS, "pi", cameras, None, cameras)
    assert len(components) == len(cameras) * len(PLATFORMS)
    assert len({str(one["unique_id"]) for one in components.values()}) == len(components)
    # Home Assistant takes its own ids apart at blanks when it removes a device.
    assert not any(" " in key for key in components)


def test_what_is_no_longer_there_is_withdrawn_once() -> None:
    before = describe(TOPICS, "pi", ["front door", "yard"], 300, ["front door"])
    now = describe(TOPICS, "pi", ["yard"], 300)
    gone = withdrawn(message(TOPICS, "pi", before), now)
    assert gone == {
        f"front%20door_{leaf}": {"platform": platform} for leaf, platform in PLATFORMS.items()
    }
    assert withdrawn(message(TOPICS, "pi", now | gone), now) == {}
    assert withdrawn(message(TOPICS, "pi", now), now) == {}


def test_pictures_are_shown_of_those_cameras_that_give_some() -> None:
    components = describe(TOPICS, "pi", ["door", "yard"], 300, ["yard"])
    pictures = {key for key, one in components.items() if one["platform"] == "image"}
    assert pictures == {"yard_snapshot"}
    none = describe(TOPICS, "pi", ["door", "yard"], 300)
    gone = withdrawn(message(TOPICS, "pi", components), none)
    assert gone == {"yard_snapshot": {"platform": "image"}}


@pytest.mark.parametrize(
    "payload",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"components": 1}',
        b'{"components": {"a_event": 1}}',
        b"\xff",
        b"[" * 100_000,
        b" " * (MAX_BYTES + 1),
    ],
    ids=lambda payload: payload[:30],
)
def test_what_is_no_such_message_is_malformed(payload: bytes) -> None:
    with pytest.raises(PayloadMalformed):
        withdrawn(payload, {})


def test_keys_that_are_none_of_ours_are_left_alone() -> None:
    payload = b'{"components": {"foreign": {"platform": "sensor", "name": "x"}}}'
    assert withdrawn(payload, {}) == {}


def test_longest_message_is_within_the_bound() -> None:
    cameras = [f"{'日' * 20}{number:04}" for number in range(64)]
    topics = Topics("/".join(["p" * 64] * 4))
    content = message(topics, "d" * 64, describe(topics, "d" * 64, cameras, 300, cameras))
    assert len(content) < MAX_BYTES

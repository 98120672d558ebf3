"""What Home Assistant is told of a device: one discovery message that describes all its entities.

The whole-device form of MQTT discovery, which Home Assistant knows since 2024.11. Templates run
over there; they keep to what every release since then has.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final
from urllib.parse import quote

from aiflow import __version__
from aiflow.common.errors import PayloadMalformed
from aiflow.common.topics import Topics

Component = dict[str, object]
"""One entity, or, with nothing but its `platform`, the word that there is none any more."""

STALE_INTERVALS: Final = 10
"""A still scene is captioned once in an interval; after so many without, the caption is old."""
MAX_STALE_S: Final = 86_400
"""An interval that makes more of it was not meant as one: then captions do not get old."""
PLATFORMS: Final = {
    "caption": "sensor",
    "confidence": "sensor",
    "tier": "sensor",
    "latency": "sensor",
    "uplink": "sensor",
    "connection": "binary_sensor",
    "enabled": "switch",
    "event": "event",
    "snapshot": "image",
}
"""What there may be of each camera, and under which name."""
MAX_BYTES: Final = 1_048_576
"""A longer message is none of ours: with the most cameras and the longest names it is shorter."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")
_ONLINE: Final = "{{ 'online' if value == 'online' else 'offline' }}"  # `disabled` is not online


def discovery_id(prefix: str, device: str) -> str:
    """What Home Assistant knows a device by: no two devices, under whatever prefixes, share it.

    It is a level of the discovery topic, where only ASCII letters, digits, `_` and `-` are allowed.
    """
    if prefix == "aiflow" and _PLAIN.fullmatch(device):
        return f"aiflow-{device}"
    digest = hashlib.sha256(f"{prefix}/{device}".encode()).hexdigest()
    return f"aiflow_{digest[:16]}"


def discovery_topic(discovery_prefix: str, identity: str) -> str:
    """Where Home Assistant looks for the message; `identity` is the `discovery_id`."""
    return f"{discovery_prefix}/device/{identity}/config"


def stale_after_s(max_interval_s: float) -> int | None:
    """Age in seconds at which a caption no longer tells what the camera sees; None: never."""
    age_s = max_interval_s * STALE_INTERVALS
    return max(60, round(age_s)) if age_s <= MAX_STALE_S else None


def describe(
    topics: Topics,
    device: str,
    cameras: Iterable[str],
    stale_s: int | None,
    pictured: Collection[str] = (),
) -> dict[str, Component]:
    """The entities of all cameras, by a key that is theirs for ever; `pictured` give snapshots."""
    components: dict[str, Component] = {}
    for camera in cameras:
        entities = _entities(topics, device, camera, stale_s)
        if camera in pictured:
            entities["snapshot"] = _snapshot(topics, device, camera)
        for leaf, entity in entities.items():
            components[_key(camera, leaf)] = _named(entity, topics, device, camera, leaf)
    return components


def message(topics: Topics, device: str, components: Mapping[str, Component]) -> bytes:
    """The discovery message, JSON."""
    content = {
        "device": {
            "identifiers": [discovery_id(topics.prefix, device)],
            "name": device,
            "manufacturer": "AI Flow",
            "model": "camera device",
            "sw_version": __version__,
        },
        "origin": {"name": "AI Flow", "sw_version": __version__},
        "availability": [{"topic": topics.available(device)}],
        "components": components,
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def withdrawn(payload: bytes, components: Mapping[str, Component]) -> dict[str, Component]:
    """What an earlier message of this device described and `components` no longer has.

    Home Assistant removes an entity when its component is there with nothing but its platform.
    Keys that are none of ours are left out. Raises PayloadMalformed if it is no such message.
    """
    if len(payload) > MAX_BYTES:
        raise PayloadMalformed(f"a discovery message of {len(payload)} bytes is too long")
    try:
        earlier = json.loads(payload)["components"]
        return {
            key: {"platform": platform}
            for key, component in earlier.items()
            if key not in components
            and len(component) > 1
            and (platform := PLATFORMS.get(key.rpartition("_")[2])) is not None
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PayloadMalformed("what is retained for Home Assistant is none of ours") from error


def _key(camera: str, leaf: str) -> str:
    """Home Assistant takes keys apart at blanks, when it removes a device."""
    return f"{quote(camera, safe='')}_{leaf}"


def _named(component: Component, topics: Topics, device: str, camera: str, leaf: str) -> Component:
    platform, name = PLATFORMS[leaf], f"{camera} {leaf}"
    return {
        "platform": platform,
        "unique_id": f"{discovery_id(topics.prefix, device)}/{camera}/{leaf}",
        "name": name,
        # What Home Assistant makes of the names anyway, said so that it stays (from 2025.10 on).
        "default_entity_id": f"{platform}.{device} {name}",
        "qos": 1,
        **component,
    }


def _looking(topics: Topics, device: str, camera: str) -> Component:
    """What is there only while the camera looks."""
    return {
        "availability": [
            {"topic": topics.available(device)},
            {"topic": topics.status(device, camera), "value_template": _ONLINE},
        ],
        "availability_mode": "all",
    }


def _snapshot(topics: Topics, device: str, camera: str) -> Component:
    return _looking(topics, device, camera) | {
        "image_topic": topics.snapshot(device, camera),
        "content_type": "image/jpeg",
    }


def _entities(
    topics: Topics, device: str, camera: str, stale_s: int | None
) -> dict[str, Component]:
    caption, status = topics.caption(device, camera), topics.status(device, camera)
    seen = _looking(topics, device, camera) | {"state_topic": caption}
    if stale_s is not None:
        seen["expire_after"] = stale_s
    figure = seen | {
        "state_class": "measurement",
        "entity_category": "diagnostic",
        "enabled_by_default": False,
    }
    return {
        "caption": seen
        | {
            "icon": "mdi:text-box-outline",
            "value_template": "{{ value_json.text[:255] }}",
            "json_attributes_topic": caption,
        },
        "confidence": seen
        | {
            "icon": "mdi:gauge",
            "state_class": "measurement",
            "unit_of_measurement": "%",
            "suggested_display_precision": 0,
            "value_template": "{{ (value_json.confidence * 100) | round(1) }}",
        },
        "tier": seen
        | {
            "device_class": "enum",
            "options": ["device", "edge", "cloud"],
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.tier }}",
        },
        "latency": figure
        | {
            "device_class": "duration",
            "unit_of_measurement": "s",
            "suggested_display_precision": 3,
            "value_template": "{{ value_json.latency_s.total }}",
        },
        "uplink": figure
        | {
            "device_class": "data_size",
            "unit_of_measurement": "B",
            "value_template": "{{ value_json.bytes.uplink }}",
        },
        "connection": {
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": status,
            "payload_on": "online",
            "payload_off": "offline",
            "value_template": _ONLINE,
        },
        "enabled": {
            "icon": "mdi:cctv",
            "command_topic": topics.enabled_set(device, camera),
            "state_topic": topics.enabled_state(device, camera),
        },
        "event": {
            "icon": "mdi:text-box-plus-outline",
            "state_topic": topics.event(device, camera),
            "event_types": ["new", "update", "trigger"],
            "value_template": "{{ dict(value_json, event_type=value_json.type) | to_json }}",
        },
    }

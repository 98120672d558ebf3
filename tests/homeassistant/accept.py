"""Runs inside Home Assistant's own environment: its schemas on a discovery message from stdin.

Writes the keys of each component that this release does not know (it drops them), as JSON. A
message that it refuses ends in the exception of its schema.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import tempfile
from typing import Any

from homeassistant.components.mqtt.discovery import _merge_common_device_options
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.core import HomeAssistant
from homeassistant.helpers import frame


def unknown_keys(config: dict[str, Any], device: dict[str, Any]) -> list[str]:
    """Of one component; `config` is the component's, `device` the whole message."""
    platform = config.pop("platform")
    if not config:
        return []
    given = set(config)
    _merge_common_device_options(config, device)
    schema = importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA
    accepted = schema(config | {key: device[key] for key in ("device", "origin")})
    return sorted(given - {str(key) for key in accepted})


async def main() -> None:
    frame.async_setup(HomeAssistant(tempfile.gettempdir()))  # which templates ask for
    content = json.load(sys.stdin)
    DEVICE_DISCOVERY_SCHEMA(json.loads(json.dumps(content)))
    components = content["components"]
    json.dump({key: unknown_keys(one, content) for key, one in components.items()}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())

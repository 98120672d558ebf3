"""Home Assistant's own schemas accept what a device announces."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aiflow.common.topics import Topics
from aiflow.device.entities import PLATFORMS, describe, message, withdrawn

ACCEPT = Path(__file__).with_name("accept.py")


def unknown_keys(venv: Path, payload: bytes) -> dict[str, list[str]]:
    """By component; whatever Home Assistant says against the message fails the test."""
    done = subprocess.run(
        [venv / "bin" / "python", ACCEPT],
        input=payload,
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    unknown: dict[str, list[str]] = json.loads(done.stdout)
    return unknown


@pytest.mark.parametrize("stale_s", [300, None])
@pytest.mark.parametrize(
    "prefix, device", [("aiflow", "gate-pi"), ("home/aiflow", "Gäste Pi.2"), ("aiflow", "x" * 64)]
)
def test_message_is_accepted_and_only_the_newer_key_is_unknown(
    home_assistant: Path, prefix: str, device: str, stale_s: int | None
) -> None:
    topics, cameras = Topics(prefix), ["yard", "Höfe 2.links", '50% "x"', "日本"]
    components = describe(topics, device, cameras, stale_s, cameras)
    unknown = unknown_keys(home_assistant, message(topics, device, components))
    assert len(unknown) == len(cameras) * len(PLATFORMS)
    # 2025.4 makes the same id of the names by itself.
    assert {key for keys in unknown.values() for key in keys} == {"default_entity_id"}


def test_message_that_takes_a_camera_out_is_accepted(home_assistant: Path) -> None:
    topics = Topics()
    before = message(topics, "pi", describe(topics, "pi", ["old", "yard"], 300, ["old"]))
    now = describe(topics, "pi", ["yard"], 300)
    gone = withdrawn(before, now)
    assert len(gone) == len(PLATFORMS)
    unknown_keys(home_assistant, message(topics, "pi", now | gone))


def test_what_it_refuses_is_noticed(home_assistant: Path) -> None:
    topics = Topics()
    components = describe(topics, "pi", ["yard"], 300)
    components["yard_tier"] |= {"unit_of_measurement": "%"}
    with pytest.raises(AssertionError, match="Invalid"):
        unknown_keys(home_assistant, message(topics, "pi", components))

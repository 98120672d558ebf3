from __future__ import annotations

import tomllib
from pathlib import Path

from aiflow.common import toml


def test_settings_come_back_from_toml_as_they_were() -> None:
    text = toml.text(
        {
            "device": 'a "quoted" \\ name \x7f é',
            "gone": None,
            "broker": {"port": 1883, "username": None, "ca_file": Path("/etc/ca.pem")},
            "camera": [{"name": "door", "fps": 2.5, "enabled": False}, {"name": "yard"}],
            "threads": 2,
        }
    )
    assert tomllib.loads(text) == {
        "device": 'a "quoted" \\ name \x7f é',
        "threads": 2,
        "broker": {"port": 1883, "ca_file": "/etc/ca.pem"},
        "camera": [{"name": "door", "fps": 2.5, "enabled": False}, {"name": "yard"}],
    }

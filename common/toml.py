"""Settings as TOML text: as much of it as a configuration file of ours needs, for tomllib."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

Scalar = str | int | float | bool | Path | None
Table = Mapping[str, Scalar]
Value = Scalar | Table | Sequence[Table]


def text(settings: Mapping[str, Value]) -> str:
    """Keys first, then sections and lists of sections. A key that is None is left out."""
    keys: list[str] = []
    sections: list[str] = []
    for name, setting in settings.items():
        if isinstance(setting, Mapping):
            sections += ["", f"[{name}]", *_keys(setting)]
        elif isinstance(setting, Sequence) and not isinstance(setting, str):
            for table in setting:
                sections += ["", f"[[{name}]]", *_keys(table)]
        else:
            keys += _keys({name: setting})
    return "\n".join([*keys, *sections, ""])


def _keys(table: Table) -> list[str]:
    return [f"{name} = {value(each)}" for name, each in table.items() if each is not None]


def value(of: Scalar) -> str:
    """How TOML writes it."""
    if isinstance(of, bool | int | float):
        return str(of).lower()
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(str(of), ensure_ascii=False).replace("\x7f", "\\u007f")

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
    for name, value in settings.items():
        if isinstance(value, Mapping):
            sections += ["", f"[{name}]", *_keys(value)]
        elif isinstance(value, Sequence) and not isinstance(value, str):
            for table in value:
                sections += ["", f"[[{name}]]", *_keys(table)]
        else:
            keys += _keys({name: value})
    return "\n".join([*keys, *sections, ""])


def _keys(table: Table) -> list[str]:
    return [f"{name} = {_value(value)}" for name, value in table.items() if value is not None]


def _value(value: Scalar) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")

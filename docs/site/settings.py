"""Writes the tables of docs/configuration.md from the classes that check a configuration.

    python docs/site/settings.py        what scripts/docs runs

A table stands between `<!-- settings: CameraConfig -->` and `<!-- end of settings -->`; everything
else on the page is written by hand. Type, limits and default are those of the class's JSON schema,
the meaning is its description, and the variable is the one that `aiflow.common.config.load` reads.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args, get_origin

from aiflow.cloud.config import CloudConfig
from aiflow.common.config import Section
from aiflow.device.config import DeviceConfig
from aiflow.edge.config import EdgeConfig

PAGE: Final = Path(__file__).parents[1] / "configuration.md"
TIERS: Final[tuple[type[Section], ...]] = (DeviceConfig, EdgeConfig, CloudConfig)
PREFIX: Final = "AIFLOW_"
TABLE: Final = re.compile(r"(<!-- settings: (\w+) -->\n).*?(<!-- end of settings -->)", re.DOTALL)
UNITS: Final = {
    "bytes_s": "bytes a second",
    "_s": "seconds",
    "bytes": "bytes",
    "bytes_frame": "bytes",
    "fps": "frames a second",
    "per_minute": "a minute",
    "width": "pixels",
    "height": "pixels",
}
"""By the end of a key, the longest one first found; the code names its units so."""
KINDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "array": "list of texts",
    "object": "table of paths",
}


def sections(*tiers: type[Section]) -> dict[str, tuple[type[Section], str | None]]:
    """Class name to class and prefix of its variables; None where a list of them has none."""
    found: dict[str, tuple[type[Section], str | None]] = {}
    for tier in tiers:
        for model, prefix in _below(tier, PREFIX):
            found[model.__name__] = (model, prefix)
    return found


def _below(model: type[Section], prefix: str | None) -> Iterator[tuple[type[Section], str | None]]:
    yield model, prefix
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, Section):
                listed = get_origin(field.annotation) is tuple or prefix is None
                yield from _below(part, None if listed else f"{prefix}{name.upper()}__")


def table(model: type[Section], prefix: str | None) -> str:
    """Markdown: a row for each key that is no section of its own."""
    head = ["key", "type", "default", "meaning", *([] if prefix is None else ["variable"])]
    rows = [head, ["---"] * len(head)]
    for name, key in model.model_json_schema()["properties"].items():
        if "$ref" in key or "$ref" in key.get("items", {}):
            continue
        required = model.model_fields[name].is_required()
        meaning = key["description"].replace("<", r"\<")
        row = [f"`{name}`", _type(name, key), _default(key, required=required), meaning]
        rows.append(row if prefix is None else [*row, f"`{prefix}{name.upper()}`"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _type(name: str, key: dict[str, Any]) -> str:
    """Kind, limits and unit: `number, over 0 to 120, frames a second`."""
    given = next((part for part in key.get("anyOf", []) if part["type"] != "null"), key)
    if "enum" in given:
        return "one of " + ", ".join(f'`"{choice}"`' for choice in given["enum"])
    kind = "path" if given.get("format") == "path" else KINDS[given["type"]]
    unit = next((UNITS[end] for end in sorted(UNITS, key=len)[::-1] if name.endswith(end)), "")
    if given["type"] not in {"integer", "number"}:
        unit = ""
    return ", ".join(part for part in (kind, _limits(given), unit) if part)


def _limits(given: dict[str, Any]) -> str:
    low = given.get("minimum")
    above = given.get("exclusiveMinimum")
    high = given.get("maximum")
    least = f"over {_number(above)}" if above is not None else ""
    if low is not None:
        least = _number(low)
        if high is None:
            return f"{least} or more"
    if given["type"] == "array":
        return f"at most {_number(given['maxItems'])}"
    return f"{least} to {_number(high)}" if high is not None else least


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _default(key: dict[str, Any], *, required: bool) -> str:
    value = key.get("default")
    if required:
        return "*required*"
    if value is None:
        return "*unset*"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def written(text: str) -> str:
    """The page with its tables made anew. Raises ValueError if a class has no table there."""
    known = sections(*TIERS)
    missing = set(known) - {found[2] for found in TABLE.finditer(text)}
    if missing:
        names = ", ".join(sorted(missing))
        raise ValueError(
            f"{PAGE.name} has no table for {names}; write <!-- settings: NAME --> and"
            " <!-- end of settings --> where it belongs"
        )
    return TABLE.sub(lambda found: found[1] + table(*known[found[2]]) + found[3], text)


def main() -> int:
    """Write the page if it has changed, and say so."""
    text = PAGE.read_text(encoding="utf-8")
    try:
        new = written(text)
    except (ValueError, KeyError) as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    if new != text:
        PAGE.write_text(new, encoding="utf-8")
        print(f"docs: the tables of {PAGE.name} were stale and have been written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())

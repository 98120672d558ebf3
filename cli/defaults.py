"""A configuration file to start from, made from a tier's model: so it cannot fall behind it.

Every setting is there with its description. What is given is set; everything else is commented
out and shows its default, or `...` where it has none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aiflow.common import toml

WIDTH: Final = 96


def commented(model: type[BaseModel], given: Mapping[str, toml.Value]) -> str:
    """TOML text; `given` holds what is set, required keys among it, by the names of `model`."""
    keys: list[str] = []
    sections: list[str] = []
    for name, field in model.model_fields.items():
        section, many = _section(field)
        value = given.get(name)
        if section is None:
            keys += _setting(name, field, value)
        elif many:
            if not _tables(value) and not field.is_required():
                keys += [*_comment(field.description or ""), f"# {name} = []", ""]
            for table in _tables(value):
                sections += _headed(f"[[{name}]]", field, section, table)
        else:
            sections += _headed(f"[{name}]", field, section, _table(value))
    return "\n".join([*keys[:-1], *sections, ""])


def _headed(
    header: str, field: FieldInfo, section: type[BaseModel], given: toml.Table
) -> list[str]:
    lines = ["", "", *_comment(field.description or ""), header]
    for name, inner in section.model_fields.items():
        lines += _setting(name, inner, given.get(name))
    return lines[:-1]


def _setting(name: str, field: FieldInfo, given: toml.Value) -> list[str]:
    """Description, key and an empty line."""
    choices = [repr(choice) for part in _parts(field.annotation) for choice in _choices(part)]
    told = field.description or ""
    lines = _comment(f"{told}; one of {', '.join(choices)}" if choices else told)
    if isinstance(given, str | int | float | Path):
        return [*lines, f"{name} = {toml.value(given)}", ""]
    return [*lines, f"# {name} = {_shown_default(field)}", ""]


def _shown_default(field: FieldInfo) -> str:
    if field.default_factory is dict:
        return "{}"
    default = None if field.is_required() else field.default
    if default is None or field.default_factory is not None:
        return '"..."' if {str, Path} & set(_parts(field.annotation)) else "..."
    return toml.value(default)


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]


def _section(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The model of a section, and whether there may be several of it."""
    for part in _parts(field.annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            return part, get_origin(field.annotation) is tuple
    return None, False


def _parts(annotation: object) -> list[object]:
    """An annotation and all that is inside it; the choices of a Literal stay inside."""
    if get_origin(annotation) is Literal:
        return [annotation]
    return [annotation, *(part for inner in get_args(annotation) for part in _parts(inner))]


def _choices(part: object) -> tuple[object, ...]:
    return get_args(part) if get_origin(part) is Literal else ()


def _table(value: toml.Value) -> toml.Table:
    return value if isinstance(value, Mapping) else {}


def _tables(value: toml.Value) -> Sequence[toml.Table]:
    return value if isinstance(value, list | tuple) else ()

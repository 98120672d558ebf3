"""What is wrong with a configuration, in the words of whoever reads the file.

pydantic finds the faults; here they become one sentence that names the place, and for an unknown
key the known one that looks most like it.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

WANTED: Final = dict.fromkeys(("model_type", "model_attributes_type"), "should be a section") | {
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "string_type": "should be text in quotes",
    "path_type": "should be a path in quotes",
    "tuple_type": "should be a list in square brackets",
    "too_short": "needs at least one",
}
"""What pydantic says in words of its own, in a reader's; by the type of the fault."""
MAX_FAULTS: Final = 3
"""Most faults that one ConfigError tells; the rest is counted."""


def sentence(
    model: type[BaseModel],
    error: ValidationError,
    source: str,
    variables: Mapping[tuple[str, ...], str],
) -> str:
    """Tell the first faults; `variables` says which environment variable has set which key."""
    found = error.errors(include_url=False)
    faults = [fault for fault in found if not _follows(fault, found)]
    told = [_fault(model, fault, source, variables) for fault in faults[:MAX_FAULTS]]
    told[1:] = [words.removeprefix(f"{source}: ") for words in told[1:]]
    more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return "; ".join(told) + more


def _follows(fault: ErrorDetails, faults: list[ErrorDetails]) -> bool:
    """Whether a list is too short only because what is in it is wrong."""
    keys = fault["loc"]
    within = (len(one["loc"]) > len(keys) and one["loc"][: len(keys)] == keys for one in faults)
    return fault["type"] == "too_short" and any(within)


def _fault(
    model: type[BaseModel],
    fault: ErrorDetails,
    source: str,
    variables: Mapping[tuple[str, ...], str],
) -> str:
    keys = fault["loc"]
    variable = variables.get(tuple(str(key) for key in keys))
    about_section = fault["type"] == "value_error" and model_at(model, keys) is not None
    place = _place((*keys, "") if about_section else keys).strip()
    where = f"environment variable {variable}" if variable else f"{source}: {place}"
    return f"{where.removesuffix(': ')}: {_complaint(model, fault)}"


def _complaint(model: type[BaseModel], fault: ErrorDetails) -> str:
    keys = fault["loc"]
    if fault["type"] == "extra_forbidden":
        return "unknown key" + _suggestion(model_at(model, keys[:-1]), str(keys[-1]))
    if fault["type"] == "missing":
        return "is required"
    if fault["type"] == "value_error":
        return str(fault.get("ctx", {}).get("error", fault["msg"]))
    if fault["type"] == "tuple_type" and model_at(model, keys) is not None:
        return f"comes any number of times; write [[{keys[-1]}]]"
    given = repr(fault["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    return f"{WANTED.get(fault['type'], fault['msg'].removeprefix('Input '))}, not {given}"


def _suggestion(owner: type[BaseModel] | None, key: str) -> str:
    if owner is None:
        return ""
    near = difflib.get_close_matches(key, owner.model_fields, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(owner.model_fields)}"


def _place(keys: tuple[int | str, ...]) -> str:
    """`("camera", 1, "fps")` as `[camera 2] fps`, the way a reader finds it in the file."""
    if not keys:
        return ""
    sections, last = keys[:-1], keys[-1]
    if isinstance(last, int):
        sections, last = keys, ""
    words = [str(key + 1) if isinstance(key, int) else key for key in sections]
    return (f"[{' '.join(words)}] " if words else "") + str(last)


def model_at(model: type[BaseModel], keys: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that holds the keys below `keys`; list indices are stepped over."""
    here: type[BaseModel] | None = model
    for key in keys:
        if isinstance(key, int):
            continue
        field = here.model_fields.get(key) if here is not None else None
        here = inner_model(field.annotation) if field is not None else None
    return here


def inner_model(annotation: object) -> type[BaseModel] | None:
    """The model in `X`, `X | None`, `tuple[X, ...]`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = inner_model(inner)
        if found is not None:
            return found
    return None

"""Configuration: a TOML file and environment variables into frozen, checked models.

A tier describes its settings as a `Section`; `load` fills it from, in rising order of precedence,
the defaults, the file, and environment variables (`AIFLOW_BROKER__HOST` is `host` of `[broker]`;
a list or a whole section is given as JSON). Whatever is wrong becomes one ConfigError sentence
that names the place and, for an unknown key, the known one that looks most like it.

Why not a settings library: the merging is a few lines, and its errors are what users read most.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from aiflow.common.errors import ConfigError
from aiflow.common.topics import NameKind, Topics, check_name

log = logging.getLogger(__name__)

NO_SETTINGS: Final = frozenset({"LOG_FORMAT"})
"""Variables with the prefix that are options of the command, not settings."""
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
}
"""What pydantic says in words of its own, in a reader's; by the type of the fault."""
MAX_FAULTS: Final = 3
"""Most faults that one ConfigError tells; the rest is counted."""


class Section(BaseModel):
    """Base of every configuration model: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def fit_name(kind: NameKind, name: str) -> str:
    """Return the name if topics may carry it; ValueError, as validators raise it, if not."""
    try:
        return check_name(kind, name)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def hex_key(path: Path, named: str) -> bytes:
    """Read a key from its file: hexadecimal, blanks around it ignored.

    Raises ConfigError, which begins with `named`.
    """
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except OSError as error:
        raise ConfigError(f"{named} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{named} is not hexadecimal") from error


def state_file(name: str) -> Path:
    """Where a file that outlives its daemon is, by the conventions of systemd and of a user."""
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return (Path(given) if given else state / "aiflow") / name


class Broker(Section):
    """Where the MQTT broker is and who we are to it; the same section in every tier."""

    host: str = Field(default="127.0.0.1", min_length=1, description="host name or address")
    port: int = Field(default=1883, ge=1, le=65_535, description="TCP port")
    username: str | None = Field(default=None, description="user name, when the broker asks one")
    password_file: Path | None = Field(
        default=None, description="file whose first line is the password; keep it at mode 0600"
    )
    ca_file: Path | None = Field(
        default=None, description="PEM certificates to trust; setting it turns TLS on"
    )
    cert_file: Path | None = Field(default=None, description="our own certificate, PEM")
    key_file: Path | None = Field(default=None, description="private key of cert_file, PEM")
    keepalive_s: Annotated[int, Field(ge=2, le=3600)] = Field(
        default=15, description="longest silence, seconds; a dead link is seen after about twice it"
    )
    prefix: str = Field(default="aiflow", description="first level of every topic")

    @field_validator("prefix")
    @classmethod
    def _prefix_is_fit(cls, prefix: str) -> str:
        try:
            return Topics(prefix).prefix
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file need each other")
        if self.cert_file is not None and self.ca_file is None:
            raise ValueError("cert_file needs ca_file, the certificate that the broker shows")
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        return self


class Metrics(Section):
    """Whether Prometheus may read what a daemon counts; the same section in every tier."""

    port: Annotated[int, Field(ge=1, le=65_535)] | None = Field(
        default=None, description="TCP port of /metrics; unset, nothing listens"
    )
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address to listen at; whoever reaches it may read, so keep it to this machine",
    )


M = TypeVar("M", bound=BaseModel)


def load(
    model: type[M],
    path: Path | None,
    env_prefix: str = "AIFLOW_",
    environ: Mapping[str, str] | None = None,
) -> M:
    """Read and check the settings of one tier.

    `path` is a TOML file, or None to go by the environment and the defaults alone. An unknown
    variable inside a known section is refused like an unknown key; another variable with the
    prefix may be meant for another tier, so it is logged and left alone.

    Raises ConfigError.
    """
    content = {} if path is None else _read_toml(path)
    variables = _overlay(model, content, env_prefix, os.environ if environ is None else environ)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        source = "configuration" if path is None else f"config file {path}"
        raise ConfigError(_sentence(model, error, source, variables)) from error


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"config file {path} does not exist") from error
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of TOML or of UTF-8
        raise ConfigError(f"config file {path} is not valid TOML: {error}") from error


_Path = tuple[str, ...]


def _overlay(
    model: type[BaseModel], content: dict[str, Any], prefix: str, environ: Mapping[str, str]
) -> dict[_Path, str]:
    """Lay environment variables over `content`; returns which variable set which key."""
    variables: dict[_Path, str] = {}
    given = {name for name in environ if name.startswith(prefix)}
    for variable in sorted(given - {prefix + name for name in NO_SETTINGS}):
        keys = tuple(variable.removeprefix(prefix).lower().split("__"))
        if keys[0] not in model.model_fields:
            log.warning("environment variable %s is no setting of this tier; left alone", variable)
            continue
        section = content
        for depth, key in enumerate(keys[:-1], start=1):
            below = section.setdefault(key, {})
            if not isinstance(below, dict) or _model_at(model, keys[:depth]) is None:
                raise ConfigError(f"environment variable {variable}: {key} is not a section")
            section = below
        section[keys[-1]] = _parsed(model, keys, environ[variable], variable)
        variables[keys] = variable
    return variables


def _parsed(model: type[BaseModel], keys: _Path, text: str, variable: str) -> object:
    """Lists and sections come as JSON; everything else as the text that pydantic converts."""
    owner = _model_at(model, keys[:-1])
    field = owner.model_fields.get(keys[-1]) if owner is not None else None
    if field is None or (_inner_model(field.annotation) is None and text[:1] not in {"[", "{"}):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"environment variable {variable} is not valid JSON: {error}") from error


def _sentence(
    model: type[BaseModel], error: ValidationError, source: str, variables: dict[_Path, str]
) -> str:
    faults = error.errors(include_url=False)
    told = [_fault(model, fault, source, variables) for fault in faults[:MAX_FAULTS]]
    told[1:] = [words.removeprefix(f"{source}: ") for words in told[1:]]
    more = f"; and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
    return "; ".join(told) + more


def _fault(
    model: type[BaseModel], fault: ErrorDetails, source: str, variables: dict[_Path, str]
) -> str:
    keys = fault["loc"]
    variable = variables.get(tuple(str(key) for key in keys))
    about_section = fault["type"] == "value_error" and _model_at(model, keys) is not None
    place = _place((*keys, "") if about_section else keys).strip()
    where = f"environment variable {variable}" if variable else f"{source}: {place}"
    return f"{where.removesuffix(': ')}: {_complaint(model, fault)}"


def _complaint(model: type[BaseModel], fault: ErrorDetails) -> str:
    keys = fault["loc"]
    if fault["type"] == "extra_forbidden":
        return "unknown key" + _suggestion(_model_at(model, keys[:-1]), str(keys[-1]))
    if fault["type"] == "missing":
        return "is required"
    if fault["type"] == "value_error":
        return str(fault.get("ctx", {}).get("error", fault["msg"]))
    if fault["type"] == "tuple_type" and _model_at(model, keys) is not None:
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


def _model_at(model: type[BaseModel], keys: tuple[int | str, ...]) -> type[BaseModel] | None:
    """The model that holds the keys below `keys`; list indices are stepped over."""
    here: type[BaseModel] | None = model
    for key in keys:
        if isinstance(key, int):
            continue
        field = here.model_fields.get(key) if here is not None else None
        here = _inner_model(field.annotation) if field is not None else None
    return here


def _inner_model(annotation: object) -> type[BaseModel] | None:
    """The model in `X`, `X | None`, `tuple[X, ...]`; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _inner_model(inner)
        if found is not None:
            return found
    return None

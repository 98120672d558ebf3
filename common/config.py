"""Configuration: a TOML file and environment variables into frozen, checked models.

A tier describes its settings as a `Section`; `load` fills it from, in rising order of precedence,
the defaults, the file, and environment variables (`AIFLOW_BROKER__HOST` is `host` of `[broker]`;
a list or a whole section is given as JSON). Whatever is wrong becomes one ConfigError sentence
that names the place and, for an unknown key, the known one that looks most like it.

Why not a settings library: the merging is a few lines, and its errors are what users read most.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from aiflow.common.config_faults import inner_model, model_at, sentence
from aiflow.common.errors import ConfigError
from aiflow.common.topics import NameKind, Topics, check_name

log = logging.getLogger(__name__)

NO_SETTINGS: Final = frozenset({"LOG_FORMAT"})
"""Variables with the prefix that are options of the command, not settings."""


class Section(BaseModel):
    """Base of every configuration model: frozen, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def fit_name(kind: NameKind, name: str) -> str:
    """Return the name if topics may carry it; ValueError, as validators raise it, if not."""
    try:
        return check_name(kind, name)
    except ConfigError as error:
        raise ValueError(str(error)) from error


def read_text(path: Path, named: str) -> str:
    """What a person or a tool of theirs wrote, in UTF-8, with a byte order mark or without.

    Raises ConfigError, which begins with `named`.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{named} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{named} is not text in UTF-8; save it as that") from error


def first_line(path: Path, named: str) -> str | None:
    """The first line of a file with a secret, None if it is empty; ConfigError like `read_text`."""
    lines = read_text(path, named).splitlines()
    return lines[0] if lines else None


def hex_key(path: Path, named: str) -> bytes:
    """Read a key from its file: hexadecimal, blanks around it ignored.

    Raises ConfigError, which begins with `named`.
    """
    text = read_text(path, named)
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ConfigError(f"{named} is not hexadecimal") from error


def state_file(name: str) -> Path:
    """Where a file that outlives its daemon is, by the conventions of systemd and of a user.

    Raises ConfigError where there is no convention: a user without a home directory.
    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given) / name
    state = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(state) if state else Path.home() / ".local" / "state") / "aiflow" / name
    except RuntimeError as error:
        raise ConfigError(
            f"this user has no home directory to keep {name} in; set STATE_DIRECTORY to a folder"
        ) from error


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

    @field_validator("host")
    @classmethod
    def _host_is_alone(cls, host: str) -> str:
        if not set(host).isdisjoint("/@?#\\") or host != host.strip():
            # Not shown: what has such signs may hold a password.
            raise ValueError("should be a host name or an address alone, without mqtt:// and user")
        return host

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
    given: Mapping[str, Mapping[str, object]] | None = None,
) -> M:
    """Read and check the settings of one tier, all sources merged: only then do they bind others.

    `path` is a TOML file, or None to go by the environment and the defaults alone. `given` (by
    section) comes from the command line and goes above both. An unknown
    variable inside a known section is refused like an unknown key; another variable with the
    prefix may be meant for another tier, so it is logged and left alone.

    Raises ConfigError.
    """
    content = {} if path is None else _read_toml(path)
    variables = _overlay(model, content, env_prefix, os.environ if environ is None else environ)
    for section, settings in (given or {}).items():
        content[section] = {**_section(content, section), **settings}
    try:
        return model.model_validate(content)
    except ValidationError as error:
        source = "configuration (no --config FILE)" if path is None else f"config file {path}"
        raise ConfigError(sentence(model, error, source, variables)) from error


def _section(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section as it is so far; what is none is left to the check."""
    section = content.get(name, {})
    return section if isinstance(section, dict) else {}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"config file {path} does not exist") from error
    except OSError as error:
        raise ConfigError(f"config file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of TOML or of UTF-8
        raise ConfigError(f"config file {path} is not valid TOML: {error}") from error


def _overlay(
    model: type[BaseModel], content: dict[str, Any], prefix: str, environ: Mapping[str, str]
) -> dict[tuple[str, ...], str]:
    """Lay environment variables over `content`; returns which variable set which key."""
    variables: dict[tuple[str, ...], str] = {}
    given = {name for name in environ if name.startswith(prefix)}
    for variable in sorted(given - {prefix + name for name in NO_SETTINGS}):
        keys = tuple(variable.removeprefix(prefix).lower().split("__"))
        if keys[0] not in model.model_fields:
            log.warning("environment variable %s is no setting of this tier; left alone", variable)
            continue
        section = content
        for depth, key in enumerate(keys[:-1], start=1):
            below = section.setdefault(key, {})
            if not isinstance(below, dict) or model_at(model, keys[:depth]) is None:
                raise ConfigError(f"environment variable {variable}: {key} is not a section")
            section = below
        section[keys[-1]] = _parsed(model, keys, environ[variable], variable)
        variables[keys] = variable
    return variables


def _parsed(model: type[BaseModel], keys: tuple[str, ...], text: str, variable: str) -> object:
    """Lists and sections come as JSON; everything else as the text that pydantic converts."""
    owner = model_at(model, keys[:-1])
    field = owner.model_fields.get(keys[-1]) if owner is not None else None
    if field is None or (inner_model(field.annotation) is None and text[:1] not in {"[", "{"}):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"environment variable {variable} is not valid JSON: {error}") from error

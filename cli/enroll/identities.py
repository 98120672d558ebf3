"""Who may be on the broker, and what each may write and read there. Touches nothing.

A certificate's common name is the client id that its tier asks for, and the broker makes it user
name and client id whatever the client says of itself. The rules are Mosquitto's `acl_file`: one
section for each name, and without a section nothing is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from aiflow.common.errors import ConfigError
from aiflow.common.topics import CAMERA_TOPICS, NameKind, check_name
from aiflow.device.entities import discovery_id, discovery_topic

Role = Literal["device", "edge", "cloud", "viewer", "operator"]

MAX_COMMON_NAME: Final = 64
"""Characters of a certificate's common name (RFC 5280, ub-common-name)."""


def _written(by: str) -> tuple[str, ...]:
    """Leaves of cameras' topics."""
    return tuple(leaf for leaf, topic in CAMERA_TOPICS.items() if by in topic.writers)


def _read(by: str) -> tuple[str, ...]:
    return tuple(leaf for leaf, topic in CAMERA_TOPICS.items() if by in topic.readers)


SAYS: Final = _written("device")
"""What a device writes of a camera,"""
SHOWS: Final = _written("pictures")
"""what else if it may send pictures,"""
ORDERS: Final = _read("device")
"""and what it reads of it."""
HOME_ASSISTANT: Final = "homeassistant"
"""The discovery prefix that the rules are for."""

_FIT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KINDS: Final[Mapping[Role, NameKind]] = {"device": "device", "edge": "node"}


class Identity(BaseModel):
    """Who a certificate is for; `pool` is that of a cloud worker, or the one that an edge asks.

    `pictures`: a device that may send some.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    name: str
    pool: str | None = None
    pictures: bool = False

    @property
    def label(self) -> str:
        """The name within its role, and that of its folder."""
        return f"{self.pool}-{self.name}" if self.role == "cloud" else self.name

    def common_name(self, prefix: str) -> str:
        """As the tiers form their client ids."""
        return f"{prefix}-{self.role}-{self.label}"


@dataclass(frozen=True, slots=True)
class Rules:
    """Topic filters."""

    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


def check_identity(identity: Identity, prefix: str) -> Identity:
    """Return it if a certificate and a line of the rules can carry it, or raise ConfigError.

    Stricter than topics are: a name is also a folder, and must look like no other name.
    """
    check_fit(_KINDS.get(identity.role, "device"), identity.name)
    if identity.pool is not None:
        check_fit("pool", identity.pool)
    longest = MAX_COMMON_NAME - len(prefix)
    if len(identity.common_name("")) > longest:
        raise ConfigError(
            f"{identity.role} name {identity.name!r} is too long: with all that belongs to it, "
            f"{identity.common_name(prefix)!r}, it may have {MAX_COMMON_NAME} characters"
        )
    return identity


def check_fit(kind: NameKind, name: str) -> str:
    """Return a name that can be enrolled, or raise ConfigError."""
    check_name(kind, name)
    if _FIT.fullmatch(name) is None:
        raise ConfigError(
            f"{kind} name {name!r} cannot be enrolled: letters A to Z, digits, '.', '_' and '-' "
            "are allowed, and it begins with a letter or a digit"
        )
    return name


def rules(identity: Identity, prefix: str) -> Rules:
    """What one identity may do, and no more."""
    return _RULES[identity.role](identity, prefix)


def access_file(identities: Iterable[Identity], prefix: str) -> str:
    """Sections of Mosquitto's `acl_file`, in a fixed order."""
    named = sorted((one.common_name(prefix), rules(one, prefix)) for one in identities)
    lines: list[str] = []
    for name, allowed in named:
        lines += ["", f"user {name}"]
        lines += [f"topic write {topic}" for topic in allowed.write]
        lines += [f"topic read {topic}" for topic in allowed.read]
    return "\n".join([*lines, ""])


def _device(one: Identity, prefix: str) -> Rules:
    own = f"{prefix}/{one.name}"
    discovery = discovery_topic(HOME_ASSISTANT, discovery_id(prefix, one.name))
    return Rules(
        write=(
            f"{own}/available",
            f"{own}/stats",
            *(f"{own}/+/{leaf}" for leaf in (*SAYS, *(SHOWS if one.pictures else ()))),
            discovery,
        ),
        read=(
            f"{prefix}/edge/+/available",
            *(f"{own}/+/{leaf}" for leaf in ORDERS),
            discovery,
            f"{HOME_ASSISTANT}/status",
        ),
    )


def _edge(one: Identity, prefix: str) -> Rules:
    own, cameras = f"{prefix}/edge/{one.name}", f"{prefix}/+/+"
    return Rules(
        write=(
            f"{own}/available",
            f"{own}/stats",
            *(f"{cameras}/{leaf}" for leaf in _written("edge")),
            *_asked(one, prefix),
        ),
        # Some of it only for its dashboard.
        read=(
            f"{own}/reply",
            *(f"{cameras}/{leaf}" for leaf in _read("edge")),
            *_daemons(prefix),
        ),
    )


def _cloud(one: Identity, prefix: str) -> Rules:
    return Rules(write=(f"{prefix}/edge/+/reply",), read=_asked(one, prefix))


def _asked(one: Identity, prefix: str) -> tuple[str, ...]:
    """What an edge node says to a pool of cloud workers."""
    return (f"{prefix}/cloud/{one.pool}/request",)


def _viewer(_one: Identity, prefix: str) -> Rules:
    return Rules(read=(*_daemons(prefix), *(f"{prefix}/+/+/{leaf}" for leaf in _read("viewer"))))


def _daemons(prefix: str) -> tuple[str, ...]:
    """What devices and edge nodes say of themselves."""
    return tuple(
        f"{prefix}/{who}/{leaf}" for who in ("+", "edge/+") for leaf in ("available", "stats")
    )


def _operator(one: Identity, prefix: str) -> Rules:
    """A person, or Home Assistant."""
    return Rules(
        write=(
            *(f"{prefix}/+/+/{leaf}" for leaf in _written("operator")),
            f"{HOME_ASSISTANT}/status",
        ),
        read=(
            *_viewer(one, prefix).read,
            *(f"{prefix}/+/+/{leaf}" for leaf in _read("operator")),
            discovery_topic(HOME_ASSISTANT, "+"),
        ),
    )


_RULES: Final[Mapping[Role, Callable[[Identity, str], Rules]]] = {
    "device": _device,
    "edge": _edge,
    "cloud": _cloud,
    "viewer": _viewer,
    "operator": _operator,
}

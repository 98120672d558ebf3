"""Settings of the dashboard, and its token. Reads the token's file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final, Self

from pydantic import Field, model_validator

from aiflow.common.config import Section, first_line
from aiflow.common.errors import ConfigError

MIN_TOKEN: Final = 16
"""Characters; a shorter token could be guessed."""


class DashboardConfig(Section):
    """The section `[dashboard]` of an edge node."""

    enabled: bool = Field(default=False, description="whether there is a dashboard")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="address to listen on; one that other machines reach needs a token",
    )
    port: int = Field(default=8460, ge=0, le=65_535, description="TCP port; 0: a free one")
    token_file: Path | None = Field(
        default=None,
        description="file whose first line is the password of the page; keep it at mode 0600",
    )
    pictures: Path | None = Field(
        default=None,
        description="folder where a synthetic camera leaves its frames, to be shown",
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.enabled and self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f'other machines can reach {self.host}: set token_file, or host = "127.0.0.1"'
            )
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it; a name other than `localhost` is not trusted to."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(config: DashboardConfig) -> str | None:
    """The token, if one is set: the first line of its file, blanks around it ignored.

    Raises ConfigError.
    """
    path = config.token_file
    if not config.enabled or path is None:
        return None
    named = f"token of the dashboard: {path}"
    token = (first_line(path, named) or "").strip()
    if not token.isascii():
        raise ConfigError(f"{named} is not plain ASCII")
    if len(token) < MIN_TOKEN:
        raise ConfigError(
            f"token of the dashboard: {path} must begin with a line of {MIN_TOKEN} characters or "
            f"more; `openssl rand -hex 16` makes one"
        )
    return token

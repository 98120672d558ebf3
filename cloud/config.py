"""Settings of a cloud worker. Reads nothing; the TOML is `aiflow.common.config`'s."""

from __future__ import annotations

import os
import re
import socket
from typing import Annotated

from pydantic import Field, field_validator

from aiflow.common.config import Broker, Metrics, Section, fit_name


def default_worker() -> str:
    """Host and process: two workers of one name would evict each other from the broker."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:48] or "worker"
    return f"{host}-{os.getpid()}"


class CloudConfig(Section):
    """Everything that the owner of a cloud worker may set."""

    pool: str = Field(default="default", description="pool whose requests this worker shares")
    worker: str = Field(
        default_factory=default_worker,
        min_length=1,
        max_length=64,
        description="name of this worker, unique in its pool; unset, host name and process id",
    )
    broker: Broker = Field(default=Broker(), description="the MQTT broker")
    bundle: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="built-in name, or a path; unset, all built-in bundles"
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="processor threads for decoding"
    )
    batch_max: Annotated[int, Field(ge=1, le=256)] = Field(
        default=16, description="most requests finished at once"
    )
    metrics: Metrics = Field(default=Metrics(), description="whether Prometheus may read figures")
    max_waiting: Annotated[int, Field(ge=1, le=4096)] = Field(
        default=32,
        description="most requests waiting; beyond it the worker says so, and is not waited for",
    )

    @field_validator("pool")
    @classmethod
    def _pool_is_fit(cls, pool: str) -> str:
        return fit_name("pool", pool)

from __future__ import annotations

import os

import pytest

from aiflow.cloud.config import CloudConfig, default_worker
from aiflow.common.config import load
from aiflow.common.errors import ConfigError


def test_nothing_must_be_set() -> None:
    config = load(CloudConfig, None, environ={})
    assert (config.pool, config.bundle) == ("default", None)
    assert config.worker == default_worker()
    assert str(os.getpid()) in config.worker


def test_every_field_is_described() -> None:
    assert all(field.description for field in CloudConfig.model_fields.values())


@pytest.mark.parametrize(
    "variable, value, words",
    [
        ("AIFLOW_POOL", "a/b", "contains '/'"),
        ("AIFLOW_BATCH_MAX", "0", "AIFLOW_BATCH_MAX"),
        ("AIFLOW_WORKER", "", "AIFLOW_WORKER"),
        ("AIFLOW_BROKER__PROT", "1", "did you mean port"),
    ],
)
def test_what_is_wrong_is_named(variable: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(CloudConfig, None, environ={variable: value})

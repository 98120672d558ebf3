from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.common.config import load
from aiflow.common.errors import ConfigError
from aiflow.edge.config import EdgeConfig, ledger_path, read_key


def _load(tmp_path: Path, text: str, **environ: str) -> EdgeConfig:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    return load(EdgeConfig, file, environ=environ)


def test_nothing_must_be_set(tmp_path: Path) -> None:
    config = _load(tmp_path, "")
    assert (config.node, config.bundle, config.pool) == ("edge1", None, "default")
    assert config.threshold is None


def test_every_field_is_described() -> None:
    assert all(field.description for field in EdgeConfig.model_fields.values())


def test_file_and_environment(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        'node = "attic"\nthreshold = 0.7\n[device_keys]\npi = "/etc/aiflow/pi.key"\n',
        AIFLOW_BROKER__HOST="broker.home",
        AIFLOW_MAX_PENDING="8",
    )
    assert (config.node, config.threshold, config.max_pending) == ("attic", 0.7, 8)
    assert config.broker.host == "broker.home"
    assert config.device_keys == {"pi": Path("/etc/aiflow/pi.key")}


@pytest.mark.parametrize(
    "text, words",
    [
        ("treshold = 0.5", "treshold: unknown key; did you mean threshold?"),
        ("threshold = 1.5", "threshold"),
        ('node = "a/b"', "contains '/'"),
        ('pool = ""', "is empty"),
        ('device_keys = {edge = "x"}', "is reserved"),
        ("batch_max = 0", "batch_max"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        _load(tmp_path, text)


def test_where_the_ledger_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/state")
    assert ledger_path(EdgeConfig()) == Path("/home/me/state/aiflow/edge-edge1.sqlite")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert ledger_path(EdgeConfig()) == Path("/home/me/.local/state/aiflow/edge-edge1.sqlite")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/aiflow-edge:/other")
    assert ledger_path(EdgeConfig()) == Path("/var/lib/aiflow-edge/edge-edge1.sqlite")
    assert ledger_path(EdgeConfig(ledger=tmp_path / "x")) == tmp_path / "x"


def test_keys_are_hexadecimal(tmp_path: Path) -> None:
    file = tmp_path / "pi.key"
    file.write_text("000102030405060708090a0b0c0d0e0f\n")
    assert read_key("pi", file) == bytes(range(16))
    file.write_text("no key")
    with pytest.raises(ConfigError, match="is not hexadecimal"):
        read_key("pi", file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_key("pi", tmp_path / "missing")

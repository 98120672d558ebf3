from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.common.config import load
from aiflow.common.errors import ConfigError
from aiflow.edge.config import EdgeConfig
from aiflow.edge.dashboard.config import DashboardConfig, is_loopback, read_token

TOKEN = "0123456789abcdef"


def _load(tmp_path: Path, text: str) -> DashboardConfig:
    file = tmp_path / "edge.toml"
    file.write_text(text)
    return load(EdgeConfig, file, environ={}).dashboard


def test_off_and_on_this_machine_alone_by_default(tmp_path: Path) -> None:
    config = _load(tmp_path, "")
    assert (config.enabled, config.host, config.port) == (False, "127.0.0.1", 8460)


def test_every_field_is_described() -> None:
    assert all(field.description for field in DashboardConfig.model_fields.values())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "edge.home"])
def test_where_others_reach_it_a_token_is_required(tmp_path: Path, host: str) -> None:
    text = f'[dashboard]\nenabled = true\nhost = "{host}"\n'
    with pytest.raises(ConfigError, match=rf"\[dashboard\].*can reach {host}: set token_file"):
        _load(tmp_path, text)
    assert _load(tmp_path, f'{text}token_file = "x"\n').host == host


@pytest.mark.parametrize(
    "host, expected",
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("localhost.example", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_the_token_is_the_first_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"  {TOKEN} \nmore\n")
    assert read_token(DashboardConfig(enabled=True, token_file=file)) == TOKEN
    assert read_token(DashboardConfig(enabled=False, token_file=tmp_path / "missing")) is None
    assert read_token(DashboardConfig(enabled=True)) is None


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "No such file"),
        (b"", "16 characters"),
        (b"short\n", "16 characters"),
        ("pässword-with-umlaut".encode(), "not plain ASCII"),
    ],
)
def test_an_unfit_token_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        read_token(DashboardConfig(enabled=True, token_file=file))

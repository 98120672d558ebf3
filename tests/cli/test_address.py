from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.cli.address import broker_settings
from aiflow.cli.watch import WatchConfig, broker_at
from aiflow.common.config import Broker, load
from aiflow.common.errors import ConfigError


def at(tmp_path: Path, url: str, section: str) -> Broker:
    settings = tmp_path / "watch.toml"
    settings.write_text(f"[broker]\n{section}\n")
    return broker_at(url, settings)


@pytest.mark.parametrize(
    "url, host, port, username",
    [
        ("mqtt://broker.local", "broker.local", 1883, None),
        ("mqtt://10.0.0.2:1884/", "10.0.0.2", 1884, None),
        ("broker.local:1885", "broker.local", 1885, None),
        ("mqtt://ann%40home@[::1]:1883", "::1", 1883, "ann@home"),
    ],
)
def test_an_address_sets_host_port_and_user(
    tmp_path: Path, url: str, host: str, port: int, username: str | None
) -> None:
    broker = at(tmp_path, url, 'prefix = "home"')
    assert (broker.host, broker.port, broker.username) == (host, port, username)
    assert broker.prefix == "home"


def test_what_an_address_does_not_say_is_kept(tmp_path: Path) -> None:
    broker = at(tmp_path, "mqtts://broker.local", 'username = "ann"\nca_file = "ca.pem"')
    assert (broker.username, broker.ca_file, broker.port) == ("ann", Path("ca.pem"), 8883)


@pytest.mark.parametrize(
    "url", ["", "mqtt://", "http://host", "mqtt://host:99999", "mqtt://host:x", "mqtt://host/topic"]
)
def test_what_is_no_address_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(ConfigError, match="mqtt://user@host:1883"):
        broker_settings(url)


def test_a_password_does_not_belong_on_a_command_line() -> None:
    with pytest.raises(ConfigError, match="PASSWORD_FILE") as raised:
        broker_settings("mqtt://ann:secret@host")
    assert "secret" not in str(raised.value)


def test_tls_needs_a_certificate_to_trust() -> None:
    with pytest.raises(ConfigError, match="CA_FILE"):
        broker_at("mqtts://host", None)


@pytest.mark.parametrize(
    "password", ["p@ssw0rd", "pa/ssw0rd", "pa#ssw0rd", "pa?ssw0rd", "pa]ssw0rd"]
)
def test_whatever_is_wrong_with_an_address_nothing_of_it_is_shown(password: str) -> None:
    with pytest.raises(ConfigError) as raised:
        broker_settings(f"mqtt://ann:{password}@host")
    assert "ssw0rd" not in str(raised.value)
    with pytest.raises(ConfigError, match="a host name or an address alone") as raised:
        load(WatchConfig, None, environ={"AIFLOW_BROKER__HOST": f"mqtt://ann:{password}@host"})
    assert "ssw0rd" not in str(raised.value)


def test_settings_that_bind_each_other_may_come_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIFLOW_BROKER__PASSWORD_FILE", "p")
    assert broker_at("mqtt://u@h", None).password_file == Path("p")
    monkeypatch.delenv("AIFLOW_BROKER__PASSWORD_FILE")
    broker = at(tmp_path, "mqtt://u@h", 'password_file = "p"')
    assert (broker.username, broker.password_file) == ("u", Path("p"))
    monkeypatch.setenv("AIFLOW_BROKER__KEY_FILE", "k")
    broker = at(tmp_path, "mqtts://h", 'ca_file = "ca"\ncert_file = "c"')
    assert broker.key_file == Path("k")
    with pytest.raises(ConfigError, match="need each other"):
        broker_at("mqtts://h", None)

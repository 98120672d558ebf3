from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.cli.address import with_address
from aiflow.common.config import Broker
from aiflow.common.errors import ConfigError


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
    url: str, host: str, port: int, username: str | None
) -> None:
    broker = with_address(Broker(prefix="home"), url)
    assert (broker.host, broker.port, broker.username) == (host, port, username)
    assert broker.prefix == "home"


def test_what_an_address_does_not_say_is_kept() -> None:
    broker = with_address(Broker(username="ann", ca_file=Path("ca.pem")), "mqtts://broker.local")
    assert (broker.username, broker.ca_file, broker.port) == ("ann", Path("ca.pem"), 8883)


@pytest.mark.parametrize(
    "url", ["", "mqtt://", "http://host", "mqtt://host:99999", "mqtt://host:x", "mqtt://host/topic"]
)
def test_what_is_no_address_is_refused_with_the_right_form(url: str) -> None:
    with pytest.raises(ConfigError, match="mqtt://user@host:1883"):
        with_address(Broker(), url)


def test_a_password_does_not_belong_on_a_command_line() -> None:
    with pytest.raises(ConfigError, match="PASSWORD_FILE") as raised:
        with_address(Broker(), "mqtt://ann:secret@host")
    assert "secret" not in str(raised.value)


def test_tls_needs_a_certificate_to_trust() -> None:
    with pytest.raises(ConfigError, match="CA_FILE"):
        with_address(Broker(), "mqtts://host")

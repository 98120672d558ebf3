from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from aiflow.common.errors import BrokerError
from aiflow.rig import broker
from aiflow.rig.broker import PrivateBroker


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def test_it_accepts_once_it_has_started_and_leaves_nothing() -> None:
    with PrivateBroker() as private:
        assert private.url == f"mqtt://127.0.0.1:{private.port}"
        assert accepts(private.port)
        folder = private.child.log_path.parent
        assert folder.is_dir()
    assert not accepts(private.port)
    assert not folder.exists()


def test_it_can_be_killed_and_started_again_on_its_port() -> None:
    with PrivateBroker() as private:
        port, pid = private.port, private.child.pid
        private.kill()
        assert not accepts(port)
        private.start()
        assert private.port == port
        assert private.child.pid != pid
        assert accepts(port)
        private.stop()
        assert not accepts(port)


def test_a_port_that_is_taken_is_a_fault_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        private = PrivateBroker(taken.getsockname()[1])
        with pytest.raises(BrokerError, match="in use"):
            private.start()
        private.close()


def test_another_port_is_tried_when_the_first_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    free = broker._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free()])
        monkeypatch.setattr(broker, "_free_port", lambda: next(ports))
        with PrivateBroker() as private:
            assert private.port != taken.getsockname()[1]


def test_without_mosquitto_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_arguments, **_options: None)
    with pytest.raises(BrokerError, match="apt install mosquitto"):
        PrivateBroker()


def test_only_loopback_may_connect() -> None:
    with PrivateBroker() as private:
        configuration = (private.child.log_path.parent / "mosquitto.conf").read_text()
    assert f"listener {private.port} 127.0.0.1\n" in configuration
    assert configuration.count("listener") == 1

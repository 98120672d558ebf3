from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from aiflow.common.config import Broker, Section, first_line, hex_key, load, state_file
from aiflow.common.errors import ConfigError


class Lens(Section):
    name: str
    fps: float = Field(default=2.0, gt=0)


class Settings(Section):
    device: str = "front"
    broker: Broker = Broker()
    camera: tuple[Lens, ...] = ()
    path: Path | None = None


def write(folder: Path, text: str) -> Path:
    path = folder / "aiflow.toml"
    path.write_text(text)
    return path


def fault(path: Path | None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(Settings, path, environ=environ or {})
    return str(caught.value)


def test_defaults_need_no_file() -> None:
    assert load(Settings, None, environ={}) == Settings()


def test_file_sections_and_lists(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'device = "porch"\n[broker]\nport = 1884\n'
        '[[camera]]\nname = "a"\n[[camera]]\nname = "b"\nfps = 5\n',
    )
    settings = load(Settings, path, environ={})
    assert settings.device == "porch"
    assert settings.broker.port == 1884
    assert [(lens.name, lens.fps) for lens in settings.camera] == [("a", 2.0), ("b", 5.0)]


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[broker]\nhost = "a"\nport = 1884\n')
    settings = load(
        Settings,
        path,
        environ={"AIFLOW_BROKER__HOST": "b", "AIFLOW_PATH": "/tmp/x", "OTHER": "1"},
    )
    assert (settings.broker.host, settings.broker.port) == ("b", 1884)
    assert settings.path == Path("/tmp/x")


def test_lists_and_sections_come_as_json_from_the_environment() -> None:
    environ = {"AIFLOW_CAMERA": '[{"name": "a", "fps": 1}]', "AIFLOW_BROKER": '{"port": 5}'}
    settings = load(Settings, None, environ=environ)
    assert settings.camera == (Lens(name="a", fps=1),)
    assert settings.broker.port == 5


def test_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("AIFLOW_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AIFLOW_DEVICE", "shed")
    assert load(Settings, None).device == "shed"


def test_settings_are_frozen() -> None:
    settings = load(Settings, None, environ={})
    with pytest.raises(ValidationError):
        settings.device = "other"  # type: ignore[misc]


def test_unknown_key_is_named_with_a_suggestion(tmp_path: Path) -> None:
    path = write(tmp_path, "[broker]\nprot = 1884\n")
    assert fault(path) == f"config file {path}: [broker] prot: unknown key; did you mean port?"


def test_unknown_key_in_a_list_is_found_by_its_number(tmp_path: Path) -> None:
    path = write(tmp_path, '[[camera]]\nname = "a"\n[[camera]]\nname = "b"\nfsp = 1\n')
    assert fault(path) == f"config file {path}: [camera 2] fsp: unknown key; did you mean fps?"


def test_unknown_key_like_no_other_lists_the_known(tmp_path: Path) -> None:
    path = write(tmp_path, "zzz = 1\n")
    assert fault(path).endswith("zzz: unknown key; known are device, broker, camera, path")


@pytest.mark.parametrize(
    "text, words",
    [
        ('[broker]\nport = "x"\n', "[broker] port: should be a whole number, not 'x'"),
        ("[broker]\nport = 0\n", "[broker] port: should be greater than or equal to 1, not 0"),
        ("[[camera]]\nfps = 1\n", "[camera 1] name: is required"),
        ('[broker]\nprefix = "a//b"\n', "[broker] prefix: prefix name '' is empty"),
        ('[broker]\ncert_file = "c"\n', "[broker]: cert_file and key_file need each other"),
        ('[broker]\npassword_file = "p"\n', "[broker]: password_file needs a username"),
        ("broker = 3\n", "broker: should be a section, not 3"),
        ('[camera]\nname = "a"\n', "camera: comes any number of times; write [[camera]]"),
        ("path = 3\n", "path: should be a path in quotes, not 3"),
        ("device = \n", "is not valid TOML: Invalid value (at line 1, column 10)"),
    ],
)
def test_each_fault_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    sentence = fault(write(tmp_path, text))
    assert words in sentence
    assert str(tmp_path) in sentence
    assert "\n" not in sentence


def test_several_faults_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    sentence = fault(write(tmp_path, "q1 = 1\nq2 = 1\nq3 = 1\nq4 = 1\nq5 = 1\n"))
    assert sentence.count("unknown key") == 3
    assert sentence.count("config file") == 1
    assert sentence.endswith("; and 2 more")


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "absent.toml"
    assert fault(path) == f"config file {path} does not exist"


def test_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert fault(tmp_path) == f"config file {tmp_path} cannot be read: Is a directory"


def test_a_fault_from_the_environment_names_the_variable() -> None:
    assert fault(None, {"AIFLOW_BROKER__PORT": "many"}).startswith(
        "environment variable AIFLOW_BROKER__PORT: should be a whole number, not 'many'"
    )
    assert fault(None, {"AIFLOW_BROKER__PROT": "1"}) == (
        "environment variable AIFLOW_BROKER__PROT: unknown key; did you mean port?"
    )
    assert fault(None, {"AIFLOW_CAMERA": "[{"}).startswith(
        "environment variable AIFLOW_CAMERA is not valid JSON"
    )
    assert fault(None, {"AIFLOW_DEVICE__NAME": "x"}) == (
        "environment variable AIFLOW_DEVICE__NAME: device is not a section"
    )


def test_a_section_in_the_file_may_not_be_a_value_below_a_variable(tmp_path: Path) -> None:
    path = write(tmp_path, "broker = 3\n")
    assert fault(path, {"AIFLOW_BROKER__PORT": "1"}) == (
        "environment variable AIFLOW_BROKER__PORT: broker is not a section"
    )


def test_a_variable_of_another_tier_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert load(Settings, None, environ={"AIFLOW_NODE": "edge1"}) == Settings()
    assert "AIFLOW_NODE" in caplog.text


def test_every_setting_of_the_broker_is_described() -> None:
    assert all(field.description for field in Broker.model_fields.values())


MARK = b"\xef\xbb\xbf"


def test_files_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    settings, password, key = tmp_path / "a.toml", tmp_path / "password", tmp_path / "key"
    settings.write_bytes(MARK + b'[broker]\nhost = "here"\n')
    password.write_bytes(MARK + b"secret\r\n")
    key.write_bytes(MARK + b"00ff\n")
    assert load(Settings, settings, environ={}).broker.host == "here"
    assert first_line(password, "password") == "secret"
    assert hex_key(key, "key") == b"\x00\xff"


def test_a_file_in_another_encoding_is_said_to_be_that(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_bytes("secret".encode("utf-16"))
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        first_line(password, "password")


def test_a_home_directory_is_needed_only_where_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/aiflow")
    assert state_file("a") == Path("/var/lib/aiflow/a")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_file("a") == Path("/state/aiflow/a")
    monkeypatch.delenv("XDG_STATE_HOME")
    with pytest.raises(ConfigError, match="set STATE_DIRECTORY"):
        state_file("a")

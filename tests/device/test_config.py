from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from aiflow.common.config import load
from aiflow.common.errors import ConfigError
from aiflow.device import config as settings
from aiflow.device.config import DeviceConfig, outbox_path, read_key

SMALL = 'device = "porch"\n[[camera]]\nname = "door"\nuri = 0\n'


def loaded(folder: Path, text: str) -> DeviceConfig:
    path = folder / "device.toml"
    path.write_text(text)
    return load(DeviceConfig, path, environ={})


def fault(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    return str(caught.value).removeprefix(f"config file {folder / 'device.toml'}: ")


def test_small_file_is_enough(tmp_path: Path) -> None:
    config = loaded(tmp_path, SMALL)
    (camera,) = config.camera
    assert (camera.uri, camera.fps, camera.enabled) == ("0", 2.0, True)
    assert (config.bundle_name, config.runtime, config.allow_images) == ("photo", "onnx", False)


@pytest.mark.parametrize(
    "text, words",
    [
        (SMALL + "fsp = 1\n", "[camera 1] fsp: unknown key; did you mean fps?"),
        ("gaet = 1\n" + SMALL, "gaet: unknown key; did you mean gate?"),
        (SMALL + "[outbox]\nmax_entry = 1\n", "[outbox] max_entry: unknown key; did you mean"),
        ('device = "porch"\n', "camera: is required"),
        ('device = "edge"\n' + SMALL.split("\n", 1)[1], "device: device name 'edge' is reserved"),
        (SMALL.replace("door", "a/b"), "[camera 1] name: camera name 'a/b' contains '/'"),
        (SMALL + SMALL.split("\n", 1)[1], "[camera]: two cameras are called 'door'"),
        (SMALL.replace("uri = 0", 'uri = ""'), "[camera 1] uri: a camera's uri is empty"),
        (SMALL.replace("uri = 0", 'uri = "gopher://x"'), "[camera 1] uri: gopher:// is no camera"),
        (SMALL.replace("uri = 0", 'uri = "a.mp4?lop=1"'), "camera option 'lop' is unknown here"),
        ('runtime = "litert"\nprovider = "cuda"\n' + SMALL, "provider = cuda is for runtime"),
        (SMALL + "fps = 0\n", "[camera 1] fps: should be greater than 0, not 0"),
    ],
)
def test_each_fault_is_named(tmp_path: Path, text: str, words: str) -> None:
    assert words in fault(tmp_path, text)


def test_a_camera_that_is_wrong_is_not_called_missing_as_well(tmp_path: Path) -> None:
    told = fault(tmp_path, 'device = "porch"\n[[camera]]\nname = "do/or"\nuri = "0"\n')
    assert told.startswith("[camera 1] name: camera name 'do/or' contains")
    assert "camera: " not in told
    assert (
        fault(tmp_path, 'device = "porch"\ncamera = []\n') == "camera: needs at least one, not []"
    )
    once = 'device = "porch"\n[camera]\nname = "door"\nuri = "0"\n'
    assert fault(tmp_path, once) == "camera: comes any number of times; write [[camera]]"


def test_configuration_is_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValidationError):
        loaded(tmp_path, SMALL).device = "other"  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    models = [
        value
        for value in vars(settings).values()
        if isinstance(value, type) and issubclass(value, BaseModel)
    ]
    assert len(models) >= 6
    for model in models:
        assert all(field.description for field in model.model_fields.values()), model


def test_key_is_read_as_hex(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("00ff" * 8 + "\n")
    assert read_key(path) == bytes.fromhex("00ff" * 8)
    assert read_key(None) is None
    path.write_text("secret")
    with pytest.raises(ConfigError, match="is not hexadecimal"):
        read_key(path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_key(tmp_path / "absent")


def test_outbox_is_where_systemd_or_the_user_wants_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = loaded(tmp_path, SMALL)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/me/.state")
    assert outbox_path(config) == Path("/home/me/.state/aiflow/outbox-porch.sqlite")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/aiflow:/var/lib/other")
    assert outbox_path(config) == Path("/var/lib/aiflow/outbox-porch.sqlite")
    given = loaded(tmp_path, SMALL + '[outbox]\npath = "/x/y"\n')
    assert outbox_path(given) == Path("/x/y")

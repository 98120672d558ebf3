from __future__ import annotations

from pathlib import Path

import pytest

from aiflow.cloud.config import CloudConfig
from aiflow.common.config import Broker, load
from aiflow.device.config import DeviceConfig
from aiflow.edge.config import EdgeConfig
from aiflow.rig.tiers import Plan, tier_processes


def plan(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "broker": Broker(port=1884, username="ann", password_file=Path("/secret")),
        "device_broker": Broker(port=1885, username="ann", password_file=Path("/secret")),
        "uri": "synthetic:street?seed=7",
        "fps": 3.0,
    }
    return Plan(**(fields | changes))  # type: ignore[arg-type]


def test_the_files_are_what_the_tiers_read(tmp_path: Path) -> None:
    tiers = tier_processes(plan(camera_enabled=False), tmp_path)
    assert list(tiers) == ["device", "edge", "cloud"]
    device = load(DeviceConfig, tmp_path / "device.toml", environ={})
    edge = load(EdgeConfig, tmp_path / "edge.toml", environ={})
    cloud = load(CloudConfig, tmp_path / "cloud.toml", environ={})
    assert (device.broker.port, edge.broker.port, cloud.broker.port) == (1885, 1884, 1884)
    assert device.broker.password_file == Path("/secret")
    assert device.camera[0].model_dump(include={"name", "uri", "fps", "enabled"}) == {
        "name": "street",
        "uri": "synthetic:street?seed=7",
        "fps": 3.0,
        "enabled": False,
    }
    assert device.outbox.path == tmp_path / "outbox.sqlite"
    assert edge.ledger == tmp_path / "ledger.sqlite"
    assert edge.pool == cloud.pool == "demo"


@pytest.mark.parametrize(
    "mode, tiers",
    [
        ("auto", ["device", "edge", "cloud"]),
        ("cascade", ["device", "edge", "cloud"]),
        ("split", ["device", "edge"]),
        ("device", ["device", "edge"]),
    ],
)
def test_the_device_is_told_who_captions(mode: str, tiers: list[str], tmp_path: Path) -> None:
    assert list(tier_processes(plan(mode=mode), tmp_path)) == tiers
    assert load(DeviceConfig, tmp_path / "device.toml", environ={}).mode == mode


def test_settings_of_the_user_for_other_daemons_do_not_reach_the_tiers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIFLOW_BROKER__HOST", "elsewhere")
    monkeypatch.setenv("LANG", "C.UTF-8")
    environment = tier_processes(plan(), tmp_path)["edge"]._environment
    assert environment is not None
    assert "AIFLOW_BROKER__HOST" not in environment
    assert environment["LANG"] == "C.UTF-8"

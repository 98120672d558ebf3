"""The units as systemd itself judges them, where it is installed; no unit is started."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aiflow.cli import units

TIERS = ("device", "edge", "cloud")
EXPOSURE = {"device": 1.5, "edge": 1.2, "cloud": 1.2}
PROGRAM = [sys.executable, "-P", "-m", "aiflow"]
ROOT = Path(__file__).resolve().parents[2]


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run(
        [program, *arguments], check=False, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def unit(tier: str, tmp_path: Path) -> Path:
    path = tmp_path / f"{units.service(tier)}.service"
    path.write_text(units.unit(tier, PROGRAM, [9462]))
    return path


def directives(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


@pytest.mark.parametrize("tier", TIERS)
def test_unit_is_clean(unit: Path) -> None:
    done = systemd_analyze("verify", "--man=no", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("tier", TIERS)
def test_exposure(unit: Path, tier: str) -> None:
    if "--offline" not in systemd_analyze("--help").stdout:
        pytest.skip("this systemd-analyze is too old to judge a unit that is not loaded")
    done = systemd_analyze("security", "--offline=true", "--json=short", str(unit))
    shown = systemd_analyze("security", "--offline=true", "--no-pager", str(unit)).stdout
    assert json.loads(done.stdout), "no findings at all"
    overall = re.search(r"Overall exposure level for \S+: ([\d.]+)", shown)
    assert overall is not None, shown
    assert float(overall[1]) <= EXPOSURE[tier], shown


@pytest.mark.parametrize("tier", TIERS)
def test_what_the_daemon_relies_on(tier: str) -> None:
    said = dict(directives(units.unit(tier, PROGRAM)))
    assert said["Type"] == "notify"
    assert said["User"] == said["StateDirectory"] == f"aiflow-{tier}"
    assert float(said["WatchdogSec"]) > 0
    assert said["RestartPreventExitStatus"] == "2"
    assert said["ExecStart"] == (
        f"{sys.executable} -P -m aiflow {tier} --config /etc/aiflow/{tier}.toml"
    )


def test_only_the_device_may_use_cameras() -> None:
    device, edge = (units.unit(tier, PROGRAM) for tier in ("device", "edge"))
    assert "DeviceAllow=char-video4linux rw" in device
    assert "PrivateDevices" not in device
    assert "PrivateDevices=yes" in edge
    assert "DeviceAllow" not in edge
    # A kind of device that the kernel has not met when the unit starts is allowed by no name.
    assert "Wants=modprobe@videodev.service\nAfter=modprobe@videodev.service\n" in device
    assert "modprobe" not in edge
    assert "m aiflow-device video" in units.sysusers("device")
    assert "video" not in units.sysusers("edge")


def test_odd_paths_are_quoted() -> None:
    text = units.unit("edge", ['/opt/my "own" 100%/$HOME/py', "-m"])
    assert 'ExecStart="/opt/my \\"own\\" 100%%/$$HOME/py" -m edge --config' in text


@pytest.mark.parametrize("tier", TIERS)
def test_every_directive_of_the_service_is_explained(tier: str) -> None:
    page = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
    section = units.unit(tier, PROGRAM).partition("[Service]")[2].partition("[Install]")[0]
    missing = {name for name, _ in directives(section) if f"`{name}" not in page}
    assert missing == set()


@pytest.mark.parametrize("tier", TIERS)
def test_systemd_takes_user_and_access_rules(tier: str, tmp_path: Path) -> None:
    programs = [shutil.which("systemd-sysusers"), shutil.which("systemd-tmpfiles")]
    if None in programs:
        pytest.skip("systemd-sysusers or systemd-tmpfiles is not installed")
    config = tmp_path / units.config_path(tier).lstrip("/")
    config.parent.mkdir(parents=True)
    config.touch(mode=0o600)
    for program, text in zip(programs, (units.sysusers(tier), units.tmpfiles(tier)), strict=True):
        assert program is not None
        rules = tmp_path / f"{Path(program).name}.conf"
        rules.write_text(text)
        create = ["--create"] if program.endswith("tmpfiles") else []
        done = subprocess.run(
            [program, *create, f"--root={tmp_path}", str(rules)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        # Without the rights of root it cannot give a file away; it must understand the rest.
        assert done.returncode == 0 or "not permitted" in done.stderr, done.stderr
    assert f"aiflow-{tier}:" in (tmp_path / "etc/passwd").read_text()

from __future__ import annotations

import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from aiflow.cli import install, main, units
from aiflow.common.errors import AiflowError

TIERS = ("device", "edge", "cloud")


def run(*arguments: object) -> int:
    return main.run([str(argument) for argument in arguments])


def tree(root: Path) -> dict[str, int]:
    """Path below `root` to mode, of every file."""
    return {
        f"/{path.relative_to(root)}": stat.S_IMODE(path.stat().st_mode)
        for path in root.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_below_a_root_only_files_are_written(
    tier: str,
    dry_run: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(install, "_run", lambda *_: pytest.fail("a command was run"))
    assert run("install", tier, *dry_run, "--root", tmp_path) == 0
    assert tree(tmp_path) == {
        f"/etc/aiflow/{tier}.toml": 0o640,
        f"/etc/sysusers.d/aiflow-{tier}.conf": 0o644,
        f"/etc/tmpfiles.d/aiflow-{tier}.conf": 0o644,
        f"/etc/systemd/system/aiflow-{tier}.service": 0o644,
    }
    said = capsys.readouterr().out
    for path in tree(tmp_path):
        assert f"{tmp_path}{path}\n" in said
    assert f"aiflow uninstall {tier} --root {tmp_path}" in said


@pytest.mark.parametrize("tier", TIERS)
def test_dry_run_prints_all_files_and_touches_nothing(
    tier: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_run", "_put", "_require_root"):
        monkeypatch.setattr(install, name, lambda *_: pytest.fail("something was done"))
    assert run("install", tier, "--dry-run") == 0
    out = capsys.readouterr().out
    for file in install.files(tier):
        assert f"# {file.path} (mode {file.mode:04o})\n" in out
    assert units.unit(tier, install.program()) in out


def test_configuration_of_the_owner_is_kept_and_the_unit_is_renewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("install", "device", "--root", tmp_path)
    config = tmp_path / "etc/aiflow/device.toml"
    unit = tmp_path / "etc/systemd/system/aiflow-device.service"
    written = unit.read_text()
    config.write_text("# mine\n")
    unit.write_text(f"{units.MARK} device` of an earlier version\n")
    capsys.readouterr()
    assert run("install", "device", "--root", tmp_path) == 0
    assert config.read_text() == "# mine\n"
    assert unit.read_text() == written
    assert f"kept          {config}: it is yours\n" in capsys.readouterr().out
    assert not list(tmp_path.rglob(".*"))


def test_uninstall_removes_what_is_ours_and_names_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for tier in TIERS:
        run("install", tier, "--root", tmp_path)
    before = tree(tmp_path)
    assert run("uninstall", "edge", "--dry-run", "--root", tmp_path) == 0
    assert tree(tmp_path) == before
    capsys.readouterr()
    assert run("uninstall", "edge", "--root", tmp_path) == 0
    gone = {path for path in before if "aiflow-edge" in path}
    assert set(tree(tmp_path)) == set(before) - gone
    said = capsys.readouterr().out
    assert all(f"removed       {tmp_path}{path}" in said for path in gone)
    assert f"{tmp_path}/etc/aiflow/edge.toml" in said
    assert "/var/lib/aiflow-edge" in said
    assert run("uninstall", "edge", "--root", tmp_path) == 0, "it may be repeated"


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_unit_of_somebody_else_is_not_touched(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unit = tmp_path / "etc/systemd/system/aiflow-edge.service"
    unit.parent.mkdir(parents=True)
    unit.write_text("[Service]\n")
    assert run(command, "edge", "--root", tmp_path) == 2
    assert f"{unit} was not written by aiflow install" in capsys.readouterr().err
    assert unit.read_text() == "[Service]\n"


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_without_the_rights_of_root_it_is_one_sentence(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(install, "_run", lambda *_: pytest.fail("a command was run"))
    assert run(command, "edge") == 2
    error = capsys.readouterr().err
    assert "it needs sudo; --dry-run only shows it" in error
    assert error.count("\n") == 1


@pytest.fixture
def fake_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A whole machine below `tmp_path`; the commands that were run on it."""
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(install, "_below", lambda root, path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(install, "RUNNING", tmp_path)
    monkeypatch.setattr(install, "hidden", lambda: None)
    monkeypatch.setattr(install, "_run", lambda *command: ran.append(command))
    return ran


def test_on_this_machine_systemd_is_told(
    fake_system: list[tuple[str, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("install", "device") == 0
    assert fake_system == [
        ("systemd-sysusers", "/etc/sysusers.d/aiflow-device.conf"),
        ("systemd-tmpfiles", "--create", "/etc/tmpfiles.d/aiflow-device.conf"),
        ("systemctl", "daemon-reload"),
    ]
    said = capsys.readouterr().out
    assert "sudo systemctl enable --now aiflow-device" in said
    assert "aiflow uninstall device" in said
    fake_system.clear()
    assert run("uninstall", "device") == 0
    assert fake_system == [
        ("systemctl", "disable", "--now", "aiflow-device.service"),
        ("systemctl", "daemon-reload"),
    ]
    assert list(tree(tmp_path)) == ["/etc/aiflow/device.toml"]


def test_installation_that_the_service_could_not_enter_is_refused(
    fake_system: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(install, "_put", lambda *_: pytest.fail("a file was written"))
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(install, "_homes_of_python", lambda: [private / "bin" / "python"])
    monkeypatch.setattr("sys.executable", "/usr/bin/python3")
    (private / "bin").mkdir()
    assert run("install", "device") == 2
    error = capfd.readouterr().err
    assert f"may not enter {private}; install it elsewhere" in error


def test_commands_of_systemd_that_fail_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(AiflowError, match="is not installed; aiflow install needs systemd"):
        install._run("no-such-program")
    with pytest.raises(AiflowError, match=r"ls /no/where failed: ls: .* No such file"):
        install._run("ls", "/no/where")
    install._run("true")
    assert capsys.readouterr().out == "ran           true\n"


@pytest.mark.parametrize(
    "host, device",
    [("gate-pi", "gate-pi"), ("gate.example.org", "gate"), ("a b", "a-b"), ("edge", "device1")],
)
def test_device_is_called_like_its_machine(
    host: str, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert install._device_name() == device
    assert tomllib.loads(install.configuration("device", device))["device"] == device


@pytest.mark.parametrize("arguments", [["install"], ["install", "broker"], ["uninstall"]])
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*arguments) == 2
    assert capsys.readouterr().err.startswith("aiflow: ")


@pytest.mark.parametrize("tier", TIERS)
def test_a_service_may_listen_where_its_configuration_says_and_nowhere_else(
    tier: str, tmp_path: Path
) -> None:
    unit = tmp_path / f"etc/systemd/system/aiflow-{tier}.service"
    config = tmp_path / f"etc/aiflow/{tier}.toml"
    assert run("install", tier, "--root", tmp_path) == 0
    assert "SocketBindDeny=tcp\n" in unit.read_text()
    assert "SocketBindAllow" not in unit.read_text()
    config.write_text(config.read_text().replace("[metrics]", "[metrics]\nport = 9462"))
    assert run("install", tier, "--root", tmp_path) == 0
    assert "\nSocketBindAllow=tcp:9462\n" in unit.read_text()
    config.write_text("nonsense")
    assert run("install", tier, "--root", tmp_path) == 0
    assert "SocketBindAllow" not in unit.read_text()


def test_the_dashboards_port_is_allowed_with_the_dashboard(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text("[dashboard]\nenabled = true\nport = 8461\n[metrics]\nport = 9462\n")
    assert install.listening("edge", config) == [9462, 8461]

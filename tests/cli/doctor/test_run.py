"""`aiflow doctor` on a set-up that is sound, and on each kind that is not: nothing is faked."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiflow.cli.doctor import broker as of_broker
from aiflow.cli.doctor import machine
from aiflow.cli.doctor import tier as of_tier
from aiflow.cli.doctor.broker import until, until_of_file
from aiflow.cli.doctor.finding import State
from aiflow.cli.doctor.probe import ProbeFailed, probe
from aiflow.cli.main import run
from aiflow.common.bundle import Bundle, built_in
from aiflow.common.errors import ConfigError
from aiflow.common.metrics import Counters
from aiflow.common.wire import Kind
from aiflow.device.outbox import Outbox, Record

if TYPE_CHECKING:
    from tests.conftest import Mosquitto

pytestmark = pytest.mark.skipif("street" not in built_in(), reason="needs the bundle `street`")


class Report:
    """What was said, by check, and the exit status."""

    def __init__(self, status: int, content: dict[str, Any]) -> None:
        self.status = status
        self.findings: list[dict[str, str]] = content["findings"]

    def of(self, check: str) -> dict[str, str]:
        (finding,) = self.all_of(check)
        return finding

    def all_of(self, check: str) -> list[dict[str, str]]:
        return [one for one in self.findings if one["check"] == check]

    @property
    def failed(self) -> set[str]:
        return {one["check"] for one in self.findings if one["state"] == "failed"}


@pytest.fixture
def device(tmp_path: Path, mosquitto: Mosquitto) -> dict[str, str]:
    """Settings of a device that is sound, as lines by name; tests spoil one each."""
    return {
        "device": 'device = "porch"',
        "bundle": 'bundle = "street"',
        "broker": f"[broker]\nport = {mosquitto.port}",
        "camera": '[[camera]]\nname = "door"\nuri = "synthetic:street"',
        "outbox": f'[outbox]\npath = "{tmp_path / "state" / "outbox.sqlite"}"',
    }


@pytest.fixture
def examine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Report]:
    def doctor(settings: dict[str, str], tier: str = "device") -> Report:
        path = tmp_path / f"{tier}.toml"
        path.write_text("\n".join(settings.values()))
        status = run(["doctor", tier, "--config", str(path), "--json"])
        said = capsys.readouterr()
        assert said.err == ""
        return Report(status, json.loads(said.out))

    return doctor


def test_a_sound_device_has_nothing_that_failed(
    device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    report = examine(device)
    assert (report.status, report.failed) == (0, set())
    for check in ("configuration", "bundle", "runtime", "disk", "broker", "camera"):
        assert report.of(check)["state"] == "ok"
    assert report.of("camera")["seen"].startswith("door (street): 640x480")
    assert "mosquitto version" in report.of("broker")["seen"]
    assert not (tmp_path / "state").exists()  # nothing was changed


def test_a_provider_that_is_not_there_is_named(
    device: dict[str, str], examine: Callable[..., Report]
) -> None:
    report = examine({"provider": 'provider = "cuda"'} | device)
    assert "and no CUDAExecutionProvider" in report.of("runtime")["seen"]
    assert report.failed == {"runtime"}


@pytest.mark.parametrize("tier", ["edge", "cloud"])
def test_sound_nodes_caption_an_empty_frame(
    tier: str, mosquitto: Mosquitto, examine: Callable[..., Report], tmp_path: Path
) -> None:
    settings = {"broker": f"[broker]\nport = {mosquitto.port}"}
    if tier == "edge":
        settings = {"ledger": f'ledger = "{tmp_path / "ledger.sqlite"}"'} | settings
    report = examine(settings, tier)
    assert (report.status, report.failed) == (0, set())
    seen = [one["seen"] for one in report.all_of("runtime")]
    assert len(seen) == len(built_in())
    assert all("captioned an empty frame" in one for one in seen)


def test_without_a_tier_the_machine_is_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line[:1] != " "][:2] == ["versions", "clock"]
    assert lines[-1].endswith("0 failed")


def test_a_camera_that_is_missing_is_named(
    device: dict[str, str], examine: Callable[..., Report]
) -> None:
    report = examine(device | {"camera": '[[camera]]\nname = "door"\nuri = "/dev/video63"'})
    assert (report.status, report.failed) == (1, {"camera"})
    assert "/dev/video63 is not there" in report.of("camera")["seen"]
    assert "ls /dev/video*" in report.of("camera")["next"]


def test_a_camera_that_hangs_is_given_up_with_its_process(
    device: dict[str, str], examine: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_tier, "CAMERA_S", 1.5)  # less than OpenCV itself would wait
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        report = examine(device | {"camera": f'[[camera]]\nname = "door"\nuri = "{uri}"'})
        assert report.failed == {"camera"}
        assert "nothing came within 1.5 s" in report.of("camera")["seen"]
        silent.settimeout(0.0)
        with contextlib.suppress(BlockingIOError):  # a slow machine: not even opened
            client, _ = silent.accept()
            client.settimeout(5.0)
            assert client.recv(1) == b""  # whoever was connected is gone
            client.close()


def test_a_password_in_a_cameras_url_is_not_said(
    device: dict[str, str], examine: Callable[..., Report]
) -> None:
    uri = "http://owner:secret@127.0.0.1:1/stream"
    report = examine(device | {"camera": f'[[camera]]\nname = "door"\nuri = "{uri}"'})
    assert report.failed == {"camera"}
    assert "secret" not in json.dumps(report.findings)


def test_a_changed_model_file_is_named(
    device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    copy = tmp_path / "street"
    shutil.copytree(Bundle.open("street").path, copy)
    model = Bundle.open(copy).file("encoder_onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    report = examine(device | {"bundle": f'bundle = "{copy}"'})
    assert (report.status, report.failed) == (1, {"bundle"})
    assert f"{model.name} was changed" in report.of("bundle")["seen"]


def test_a_bundle_that_is_not_there_says_where_names_are(
    device: dict[str, str], examine: Callable[..., Report]
) -> None:
    report = examine(device | {"bundle": 'bundle = "strete"'})
    assert report.failed == {"bundle"}
    assert "aiflow bundle list" in report.of("bundle")["next"]


def test_a_wrong_password_comes_with_the_brokers_reason(
    device: dict[str, str],
    examine: Callable[..., Report],
    mosquitto: Mosquitto,
    tmp_path: Path,
) -> None:
    users = tmp_path / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "porch", "right"], check=True)
    mosquitto.stop()
    mosquitto.configure(f"password_file {users}", anonymous=False)
    mosquitto.start()
    password = tmp_path / "password"
    device["broker"] += f'\nusername = "porch"\npassword_file = "{password}"'
    password.write_text("wrong\n")
    report = examine(device)
    assert (report.status, report.failed) == (1, {"broker"})
    assert "Not authorized (0x87)" in report.of("broker")["seen"]
    assert "password_file" in report.of("broker")["next"]
    password.write_text("right\n")
    assert examine(device).of("broker")["seen"].startswith(f"127.0.0.1:{mosquitto.port} lets us in")


def test_a_broker_that_is_away_is_told_from_one_that_refuses(
    device: dict[str, str],
    examine: Callable[..., Report],
    mosquitto: Mosquitto,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(of_broker, "CONNECT_S", 0.5)
    mosquitto.stop()
    report = examine(device)
    assert report.failed == {"broker"}
    assert "cannot be reached" in report.of("broker")["seen"]


@pytest.mark.parametrize(
    "spoilt, words",
    [
        ("[broker]\nprot = 1883", "did you mean port?"),
        ('[broker]\npassword_file = "/no/such"', "password_file needs a username"),
        ("[broker", "is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_and_ends_the_examination(
    spoilt: str, words: str, device: dict[str, str], examine: Callable[..., Report]
) -> None:
    report = examine(device | {"broker": spoilt})
    assert (report.status, report.failed) == (1, {"configuration"})
    assert words in report.of("configuration")["seen"]


def test_a_configuration_that_is_not_there_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "edge", "--config", str(tmp_path / "none.toml")]) == 1
    said = capsys.readouterr()
    assert "none.toml does not exist" in said.out
    assert said.err == ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of our own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root, and the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_seen_by_writing(
    device: dict[str, str], examine: Callable[..., Report], small_disk: Path
) -> None:
    device["outbox"] = f'[outbox]\npath = "{small_disk / "outbox.sqlite"}"'
    report = examine(device)
    assert (report.status, report.of("disk")["state"]) == (0, "warning")  # little room, but room
    (small_disk / "filler").write_bytes(bytes(900 * 1024))
    report = examine(device)
    assert (report.status, report.failed) == (1, {"disk"})
    assert "No space left on device" in report.of("disk")["seen"]
    assert "make room" in report.of("disk")["next"]
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_folder_that_is_none_asks_for_no_room(
    device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    device["outbox"] = f'[outbox]\npath = "{tmp_path / "file" / "outbox.sqlite"}"'
    report = examine(device)
    assert (report.status, report.failed) == (1, {"disk"})
    assert "Not a directory" in report.of("disk")["seen"]
    assert "path of [outbox]" in report.of("disk")["next"]


def test_a_damaged_outbox_is_told_from_a_whole_one(
    device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    outbox = tmp_path / "state" / "outbox.sqlite"
    outbox.parent.mkdir()
    with sqlite3.connect(outbox) as database:
        database.execute("CREATE TABLE entries (payload BLOB)")
        database.executemany("INSERT INTO entries VALUES (?)", [(bytes(3000),)] * 3)
    database.close()
    assert "3 frames wait" in examine(device).of("store")["seen"]
    content = bytearray(outbox.read_bytes())
    content[4096:8192] = b"\xff" * 4096
    outbox.write_bytes(content)
    report = examine(device)
    assert report.failed == {"store"}
    assert "is damaged" in report.of("store")["seen"]


def test_frames_that_a_clock_ahead_has_stamped(
    device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    ahead_ms = round(time.time() * 1000) + 400 * 86_400_000
    with Outbox(path, max_entries=9, max_bytes=9999, counters=Counters()) as outbox:
        outbox.begin("door", "x", ahead_ms)
        outbox.put("door", Record(Kind.KEY, 0, b"symbols"))
    found = examine(device).of("stamps")
    assert found["state"] == "warning"
    assert "1 frames wait that a clock 34,5" in found["seen"]


@pytest.mark.parametrize("uri", ["0", "picamera2:0", "gst:videotestsrc ! appsink"])
def test_cameras_of_a_running_daemon_are_left_to_it(
    uri: str, device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    lock = tmp_path / "state" / "outbox.sqlite.lock"
    lock.parent.mkdir()
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        report = examine(device | {"camera": f'[[camera]]\nname = "door"\nuri = "{uri}"'})
    assert report.of("camera")["state"] == "warning"
    assert "the running daemon has it" in report.of("camera")["seen"]


def test_a_key_file_that_is_none_is_found(
    device: dict[str, str], examine: Callable[..., Report], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("not hexadecimal")
    report = examine({"key": f'key_file = "{tmp_path / "key"}"'} | device)
    assert report.failed == {"keys"}


def test_the_clock_is_read_from_the_kernel() -> None:
    kept, error_s = machine._kernel_clock()
    assert error_s > 0
    assert machine.clock().state is (
        State.OK if kept and error_s <= machine.ERROR_S else State.WARNING
    )


def test_a_clock_before_the_package_was_made_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 86_400.0)
    assert machine.clock().state is State.FAILED


def test_who_may_not_open_a_camera_is_told_which_group_may(tmp_path: Path) -> None:
    node = tmp_path / "video0"
    node.touch()
    node.chmod(0o660)
    (finding,) = machine.groups([node], "nobody")
    assert finding.state is State.FAILED
    assert "usermod -aG" in finding.next
    node.chmod(0o666)
    (finding,) = machine.groups([node], "nobody")
    assert finding.state is State.OK


def test_a_runtime_that_crashes_is_a_sentence(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"
    (tmp_path / "sitecustomize.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(ProbeFailed, match="was ended by SIGILL"):
            probe({"what": "encoder"}, 20.0)


def test_a_fault_of_ours_is_no_traceback(
    device: dict[str, str], examine: Callable[..., Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("none")

    monkeypatch.setattr(of_tier, "probe", fail)
    report = examine(device)
    assert report.failed == {"bundle", "camera"}
    assert "this is a fault of aiflow's" in report.of("camera")["next"]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """With a certificate for the broker at 127.0.0.1, and one for a week for the device porch."""
    pytest.importorskip("cryptography", reason="needs the extra enroll")
    folder = tmp_path / "authority"
    for words in (
        ["init"],
        ["broker", "--host", "127.0.0.1"],
        ["device", "porch", "--days", "7"],
    ):
        assert run(["enroll", *words, "--dir", str(folder)]) == 0
    return folder


def test_the_ends_of_certificates_are_those_that_their_maker_gave(authority: Path) -> None:
    from cryptography import x509  # noqa: PLC0415

    for path in [*authority.rglob("ca.crt"), *authority.rglob("client.crt")]:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        assert until_of_file(path) == certificate.not_valid_after_utc


def test_certificates_are_dated_and_one_that_soon_ends_is_a_warning(
    device: dict[str, str],
    examine: Callable[..., Report],
    mosquitto: Mosquitto,
    authority: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    broker, mine = authority / "broker", authority / "device" / "porch"
    mosquitto.stop()
    mosquitto.configure(
        f"cafile {broker}/ca.crt\ncertfile {broker}/broker.crt\nkeyfile {broker}/broker.key\n"
        "require_certificate true"
    )
    mosquitto.start()
    device["broker"] += f'\nca_file = "{mine}/ca.crt"'
    report = examine(device)
    assert report.failed == {"broker"}
    assert "it may not want our certificate" in report.of("broker")["seen"]
    device["broker"] += f'\ncert_file = "{mine}/client.crt"\nkey_file = "{mine}/client.key"'
    report = examine(device)
    assert (report.status, report.failed) == (0, set())
    certificates = [one for one in report.findings if one["check"] == "certificate"]
    assert [one["state"] for one in certificates] == ["ok", "warning", "ok"]
    assert "6 days more" in certificates[1]["seen"]


@pytest.mark.parametrize("broken", [b"", b"\x30", b"\x30\x82\xff\xff", b"\x30\x03\x30\x01\x00"])
def test_what_is_no_certificate_is_refused(broken: bytes, tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="needs the extra enroll")
    with pytest.raises(ValueError, match="parsing asn1"):
        until(broken)
    path = tmp_path / "broken.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(broken))
    with pytest.raises(ConfigError, match="holds no certificate"):
        until_of_file(path)

"""What `aiflow enroll` writes, says and refuses; how a broker takes it is in tests/system."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="needs the extra enroll")

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aiflow.cli.enroll import identities
from aiflow.cli.enroll.identities import ORDERS, SAYS, SHOWS, Identity, access_file, rules
from aiflow.cli.main import run
from aiflow.cloud.config import CloudConfig
from aiflow.common.config import Section
from aiflow.common.topics import CAMERA_LEAVES
from aiflow.device.config import DeviceConfig
from aiflow.device.entities import discovery_id, discovery_topic
from aiflow.edge.config import EdgeConfig

Enroll = Callable[..., str]
Refused = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "authority"


@pytest.fixture
def enroll(folder: Path, capsys: pytest.CaptureFixture[str]) -> Enroll:
    """Run a command that must go well; its output."""

    def command(*words: str) -> str:
        status = run(["enroll", words[0], "--dir", str(folder), *words[1:]])
        captured = capsys.readouterr()
        assert (status, captured.err) == (0, "")
        return captured.out

    return command


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run a command that must be refused, with nothing changed; its sentence."""

    def command(*words: str) -> str:
        before = _content(folder)
        status = run(["enroll", words[0], "--dir", str(folder), *words[1:]])
        captured = capsys.readouterr()
        assert (status, captured.out) == (2, "")
        assert _content(folder) == before
        return captured.err

    return command


def _content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def _common_name(certificate: x509.Certificate) -> object:
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def _usage(certificate: x509.Certificate) -> list[x509.ObjectIdentifier]:
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_keys_are_their_owners_alone(enroll: Enroll, folder: Path) -> None:
    enroll("init")
    enroll("broker")
    enroll("device", "porch")
    keys = {path.relative_to(folder).as_posix() for path in folder.rglob("*.key")}
    assert keys == {"ca.key", "broker/broker.key", "device/porch/client.key"}
    for path in [folder, *folder.rglob("*")]:
        secret = path.suffix == ".key" or path.name == "register.json"
        mode = 0o700 if path.is_dir() else 0o600 if secret else 0o644
        assert path.stat().st_mode & 0o777 == mode, path


def test_certificates_say_who_and_what_for(enroll: Enroll, folder: Path) -> None:
    enroll("init")
    enroll("broker", "--host", "broker.local", "--host", "10.0.0.2")
    enroll("device", "porch", "--days", "30")
    authority = _certificate(folder / "ca.crt")
    broker = _certificate(folder / "broker" / "broker.crt")
    device = _certificate(folder / "device" / "porch" / "client.crt")
    for one in (broker, device):
        one.verify_directly_issued_by(authority)
        assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    names = broker.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.local"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.2"]
    assert _usage(broker) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert _common_name(device) == "aiflow-device-porch"
    assert _usage(device) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert (device.not_valid_after_utc - device.not_valid_before_utc).days == 30


def test_nothing_outlives_the_authority_and_the_list_lives_as_long(
    enroll: Enroll, folder: Path
) -> None:
    enroll("init", "--days", "10")
    enroll("broker")
    enroll("device", "porch")
    until = _certificate(folder / "ca.crt").not_valid_after_utc
    assert _certificate(folder / "device" / "porch" / "client.crt").not_valid_after_utc == until
    revoked = x509.load_pem_x509_crl((folder / "broker" / "crl.pem").read_bytes())
    assert revoked.next_update_utc == until


@pytest.mark.parametrize(
    "words, model",
    [
        (("device", "porch"), DeviceConfig),
        (("edge", "edge1"), EdgeConfig),
        (("cloud", "w1", "--pool", "far"), CloudConfig),
    ],
)
def test_the_lines_for_the_configuration_load(
    enroll: Enroll, words: tuple[str, ...], model: type[Section]
) -> None:
    enroll("init", "--prefix", "home")
    enroll("broker", "--host", "broker.local", "--port", "8884")
    said = enroll(*words)
    settings = tomllib.loads(said.partition(".toml:\n")[2].partition("\nrewrote")[0])
    more = {"camera": [{"name": "door", "uri": "0"}]} if model is DeviceConfig else {}
    broker = model.model_validate(settings | more).model_dump()["broker"]
    assert (broker["host"], broker["port"], broker["prefix"]) == ("broker.local", 8884, "home")
    assert str(broker["key_file"]) == f"/etc/aiflow/{words[0]}/client.key"


def test_each_command_says_what_comes_next(enroll: Enroll, folder: Path) -> None:
    assert f"enroll broker --host NAME --dir {folder}" in enroll("init")
    assert "there is none yet" in enroll("device", "early")
    said = enroll("broker")
    assert "sudo chown -R mosquitto: /etc/mosquitto/aiflow" in said
    assert "user aiflow-device-early" in (folder / "broker" / "acl").read_text()
    assert "sudo systemctl reload mosquitto" in enroll("device", "porch")


def test_what_is_there_is_never_overwritten(enroll: Enroll, refused: Refused, folder: Path) -> None:
    enroll("init")
    assert "nothing is overwritten" in refused("init")
    enroll("broker")
    assert "nothing is overwritten" in refused("broker")
    enroll("device", "porch")
    assert "porch is enrolled already" in refused("device", "porch")
    (folder / "device" / "yard").mkdir()
    assert "nothing is overwritten" in refused("device", "yard")


@pytest.mark.parametrize(
    "name, fault",
    [
        ("+", "contains"),
        ("#", "contains"),
        ("porch/+", "contains"),
        ("$SYS", "begins with '$'"),
        ("edge", "is reserved"),
        ("", "is empty"),
        ("..", "cannot be enrolled"),
        ("-porch", "cannot be enrolled"),
        ("front porch", "cannot be enrolled"),
        ("porch\nuser root", "control character"),
        ("p\N{CYRILLIC SMALL LETTER O}rch", "cannot be enrolled"),
        ("porch,CN=yard", "cannot be enrolled"),
        ("p" * 51, "too long"),
        ("p" * 65, "longer than 64"),
    ],
)
def test_odd_names_are_refused(
    enroll: Enroll, folder: Path, capsys: pytest.CaptureFixture[str], name: str, fault: str
) -> None:
    enroll("init")
    assert run(["enroll", "device", "--dir", str(folder), "--", name]) == 2
    assert fault in capsys.readouterr().err
    assert not (folder / "device").exists()


@pytest.mark.parametrize("host", ["*.local", "", "a b", "-a", "a..b", "a/b", "x" * 64])
def test_odd_hosts_are_refused(enroll: Enroll, refused: Refused, host: str) -> None:
    enroll("init")
    assert "is no host name and no address" in refused("broker", "--host", host)


def test_other_mistakes_are_refused(enroll: Enroll, refused: Refused, folder: Path) -> None:
    assert "there is no authority in" in refused("device", "porch")
    assert "cannot be enrolled" in refused("init", "--prefix", "a b")
    assert "longer than 32" in refused("init", "--prefix", "a" * 33)
    enroll("init")
    assert "absolute path" in refused("broker", "--at", "here")
    assert "is not enrolled" in refused("revoke", "nobody")
    (folder / "ca.key").chmod(0o640)
    assert "can be read by others" in refused("device", "porch")
    (folder / "ca.key").chmod(0o600)
    register = folder / "register.json"
    register.write_text(register.read_text().replace('"version": 1', '"version": 2'))
    assert "is damaged" in refused("list")
    register.unlink()
    (folder / "ca.key").write_bytes(b"")
    assert "there is no authority" in refused("list")


def test_a_damaged_key_is_refused(enroll: Enroll, refused: Refused, folder: Path) -> None:
    enroll("init")
    enroll("device", "porch")
    key = folder / "ca.key"
    key.write_bytes((folder / "device" / "porch" / "client.key").read_bytes())
    assert "does not belong to its certificate" in refused("device", "yard")
    key.write_bytes(b"nothing")
    assert "is damaged" in refused("device", "yard")


def test_revoking_moves_the_files_aside_and_takes_the_rules_away(
    enroll: Enroll, folder: Path
) -> None:
    enroll("init")
    enroll("broker")
    enroll("device", "porch")
    serial = _certificate(folder / "device" / "porch" / "client.crt").serial_number
    crl, rules_file = folder / "broker" / "crl.pem", folder / "broker" / "acl"
    assert len(x509.load_pem_x509_crl(crl.read_bytes())) == 0
    assert "its files are now" in enroll("revoke", "porch")
    assert [one.serial_number for one in x509.load_pem_x509_crl(crl.read_bytes())] == [serial]
    assert "porch" not in rules_file.read_text()
    assert [path.name[:14] for path in (folder / "device").iterdir()] == ["porch.revoked-"]
    enroll("device", "porch")  # anew
    assert "user aiflow-device-porch" in rules_file.read_text()
    assert len(x509.load_pem_x509_crl(crl.read_bytes())) == 1
    states = [line.split()[2] for line in enroll("list").splitlines()]
    assert states == ["revoked", "until"]


def test_a_name_of_several_roles_is_revoked_by_its_role(
    enroll: Enroll, refused: Refused, folder: Path
) -> None:
    enroll("init")
    for words in (("device", "a"), ("edge", "a"), ("cloud", "a"), ("cloud", "a", "--pool", "b")):
        enroll(*words)
    assert "device a and edge a and cloud default-a and cloud b-a" in refused("revoke", "a")
    enroll("revoke", "a", "--role", "edge")
    enroll("revoke", "b-a")
    register = json.loads((folder / "register.json").read_text())
    revoked = [one["identity"]["role"] for one in register["issued"] if "revoked" in one]
    assert revoked == ["edge", "cloud"]


def test_two_ways_to_one_name_are_seen(enroll: Enroll, refused: Refused) -> None:
    enroll("init")
    enroll("cloud", "b-c", "--pool", "a")
    assert "is enrolled already" in refused("cloud", "c", "--pool", "a-b")


def test_rules_of_the_owner_are_kept(enroll: Enroll, folder: Path) -> None:
    enroll("init")
    enroll("broker")
    (folder / "broker" / "acl.own").write_text("user me\ntopic read #\n")
    enroll("device", "porch")
    assert (folder / "broker" / "acl").read_text().endswith("user me\ntopic read #\n")


@pytest.mark.parametrize(
    "line", ["topics read #", "topic raed a/b", "topic read", "user", "allow all", "pattern deny"]
)
def test_a_rule_that_would_stop_the_broker_is_refused(
    enroll: Enroll, refused: Refused, folder: Path, line: str
) -> None:
    enroll("init")
    enroll("broker", "--host", "localhost")
    own = folder / "broker" / "acl.own"
    own.write_text(f"# mine\nuser me\n{line}\n")
    before = _read(folder, "acl")
    assert f"line 3 of {own} is no rule" in refused("device", "yard")
    assert _read(folder, "acl") == before
    own.write_text("# mine\n\nuser me\ntopic a\ntopic write a b\npattern read %u/#\n")
    enroll("device", "yard")
    assert "topic write a b" in _read(folder, "acl")


def test_there_is_a_configuration_for_each_mosquitto(enroll: Enroll, folder: Path) -> None:
    enroll("init")
    enroll("broker", "--host", "localhost", "--mosquitto", "2.0")
    old = _read(folder, "mosquitto.conf")
    shutil.rmtree(folder / "broker")
    enroll("broker", "--host", "localhost", "--mosquitto", "2.1")
    new = _read(folder, "mosquitto.conf")
    option = "acl_file /etc/mosquitto/aiflow/acl"
    assert f"\n{option}\n" in old
    plugin = f"global_plugin mosquitto_acl_file.so\nplugin_opt_{option}"
    assert new == old.replace(option, plugin)
    said = enroll("device", "yard")
    assert said.index("mosquitto --test-config") < said.index("reload mosquitto")


@pytest.mark.parametrize("name, least", [("security.md", 10), ("boards.md", 4)])
def test_the_commands_of_the_pages(
    name: str,
    least: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).parents[3] / "docs" / name
    commands = re.findall(r"^aiflow (enroll .+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) >= least
    monkeypatch.chdir(tmp_path)
    assert [run(command.split()) for command in commands] == [0] * len(commands)
    assert (tmp_path / "aiflow-authority" / "broker" / "acl").exists()
    assert "--dir" not in capsys.readouterr().out


def test_a_device_is_bound_to_its_own_topics() -> None:
    assert set(SAYS) | set(ORDERS) == CAMERA_LEAVES - set(SHOWS), "pictures are barred"


def _pictured(folder: Path) -> tuple[set[str], str]:
    """Who may write pictures by the rules, and the line of the packet size."""
    writes = re.findall(
        r"^topic write (.+)/(?:image|snapshot)$", _read(folder, "acl"), re.MULTILINE
    )
    (size,) = re.findall(r"^max_packet_size .*$", _read(folder, "mosquitto.conf"), re.MULTILINE)
    return set(writes), size


def _read(folder: Path, name: str) -> str:
    return (folder / "broker" / name).read_text()


def test_pictures_come_and_go_with_the_devices_that_may_send_some(
    enroll: Enroll, refused: Refused, folder: Path
) -> None:
    enroll("init")
    enroll("broker")
    enroll("device", "porch")
    enroll("edge", "gate")
    assert _pictured(folder) == (set(), "max_packet_size 66560")
    assert "max_packet_size only" in enroll("device", "yard", "--pictures")
    assert _pictured(folder) == ({"aiflow/yard/+"}, "max_packet_size 263168")
    assert "max_packet_size" not in enroll("pictures", "porch")
    assert _pictured(folder)[0] == {"aiflow/porch/+", "aiflow/yard/+"}
    assert [line.endswith(", pictures") for line in enroll("list").splitlines()] == [
        True,
        False,
        True,
    ]
    enroll("pictures", "porch", "--off")
    assert "max_packet_size only" in enroll("revoke", "yard")
    assert _pictured(folder) == (set(), "max_packet_size 66560")
    assert "'gate' is not enrolled" in refused("pictures", "gate")


def test_a_site_of_an_earlier_version_is_brought_up_to_date_by_one_command(
    enroll: Enroll, folder: Path
) -> None:
    enroll("init")
    enroll("broker")
    enroll("device", "porch")
    enroll("operator", "home")
    register = folder / "register.json"
    earlier = json.loads(register.read_text())
    for one in earlier["issued"]:
        del one["identity"]["pictures"]
    register.write_text(json.dumps(earlier))
    rules = folder / "broker" / "acl"
    rules.write_text(rules.read_text().replace("topic read aiflow/+/+/snapshot\n", ""))
    enroll("pictures", "porch")
    assert _pictured(folder) == ({"aiflow/porch/+"}, "max_packet_size 263168")
    assert "topic read aiflow/+/+/snapshot\n" in rules.read_text()


def test_a_packet_size_of_the_owner_stays(enroll: Enroll, folder: Path) -> None:
    enroll("init")
    enroll("broker")
    conf = folder / "broker" / "mosquitto.conf"
    conf.write_text(conf.read_text().replace("max_packet_size 66560", "max_packet_size 500000"))
    assert "max_packet_size" not in enroll("device", "porch", "--pictures")
    assert _pictured(folder) == ({"aiflow/porch/+"}, "max_packet_size 500000")
    allowed = rules(Identity(role="device", name="porch"), "home")
    discovery = discovery_topic("homeassistant", discovery_id("home", "porch"))
    assert [topic for topic in allowed.write if not topic.startswith("home/porch/")] == [discovery]
    others = [topic for topic in allowed.read if not topic.startswith("home/porch/")]
    assert others == ["home/edge/+/available", discovery, "homeassistant/status"]
    assert {topic.partition("/+/")[2] for topic in allowed.read if topic not in others} == {*ORDERS}


def test_nobody_may_do_all() -> None:
    everybody = [Identity(role=role, name="x", pool="p") for role in identities._RULES]
    text = access_file(everybody, "aiflow")
    assert "#" not in text
    assert "pattern" not in text
    assert text.count("\nuser ") == len(everybody)


def test_without_the_library_the_extra_is_named(tmp_path: Path) -> None:
    # In a process of its own: a library that was loaded once cannot be taken away.
    program = (
        "import sys; sys.modules['cryptography'] = None; from aiflow.cli.main import main; "
        f"main(['enroll', 'init', '--dir', {str(tmp_path / 'a')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'aiflow-edge[enroll]'" in done.stderr

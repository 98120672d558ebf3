"""What goes wrong outside: each a sentence or a counted drop, and nothing else disturbed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.system.conftest import START_S, wait_until

from aiflow.common import toml
from aiflow.common.bundle import Bundle
from aiflow.rig.tiers import tier_process

if TYPE_CHECKING:
    from tests.system.conftest import System

AIFLOW = (sys.executable, "-P", "-m", "aiflow")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*AIFLOW, *arguments], check=False, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize("tier", ["device", "edge", "cloud"])
def test_an_unknown_key_is_one_sentence_and_status_2(tier: str, tmp_path: Path) -> None:
    path = tmp_path / "tier.toml"
    path.write_text("[broker]\nprot = 1883\n")
    done = run(tier, "--config", str(path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"aiflow: config file {path}: ")
    assert "[broker] prot: unknown key; did you mean port?" in done.stderr


def other_bundle(folder: Path) -> Path:
    """The street's bundle under another id: whole, but not the one the edge node has."""
    path = folder / "other"
    shutil.copytree(Bundle.open("street").path, path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["description"] += " (a copy)"
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.mark.parametrize("tier", ["device", "edge", "cloud"])
def test_a_changed_model_file_is_named_and_not_loaded(
    tier: str, tmp_path: Path, system: System
) -> None:
    path = other_bundle(tmp_path)
    changed = next(path.glob("*.onnx"))
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    configuration = (system.folder / f"{tier}.toml").read_text()
    assert 'bundle = "street"' in configuration
    configuration = configuration.replace('bundle = "street"', f'bundle = "{path}"')
    with tier_process(tier, configuration, system.folder) as child:
        assert child.wait(START_S) == 1
        (sentence,) = child.last_lines(1)
        assert f"{changed} was changed" in sentence
        assert not any("Traceback" in line for line in child.last_lines(40))


def test_a_device_with_another_bundle_is_dropped_and_counted(
    system: System, tmp_path: Path
) -> None:
    system.configure("edge", "stats_every_s = 1.0")
    settings: dict[str, toml.Value] = {
        "device": "stranger",
        "bundle": str(other_bundle(tmp_path)),
        "broker": {"port": system.broker.port},
        "camera": [{"name": "street", "uri": "synthetic:street?seed=9", "fps": 5.0}],
        "outbox": {"path": tmp_path / "stranger.sqlite"},
    }
    system.start("device", "edge")
    folder = tmp_path / "stranger"
    folder.mkdir()
    with tier_process("device", toml.text(settings), folder):
        system.wait_for_captions(10)
        deadline = time.monotonic() + START_S
        while not (dropped := _dropped(system.edge_counters(), "bundle")):
            assert time.monotonic() < deadline, system.edge_counters()
            time.sleep(0.1)
    assert dropped > 0
    assert "aiflow/stranger/street/event" not in system.recorder.topics()


def _dropped(counters: dict[str, int], reason: str) -> int:
    return sum(count for name, count in counters.items() if f'reason="{reason}"' in name)


def test_rubbish_on_the_wire_is_dropped_and_counted(system: System) -> None:
    system.configure("edge", "stats_every_s = 1.0")
    system.start("device", "edge")
    system.wait_for_captions(3)
    for payload in (b"", b"\x10", b"\x90" * 20, b"\x10" * 20, b"\x00" * 100, b"\x10" * 5000):
        system.recorder.publish("aiflow/demo/street/embedding", payload)
        system.recorder.publish("aiflow/demo/street/receipt", payload)
        system.recorder.publish("aiflow/demo/street/enabled/set", payload)
        system.recorder.publish("aiflow/cloud/demo/request", payload)
    before = len(system.captioned())
    system.wait_for_captions(before + 10)
    for child in system.tiers.values():
        assert not any("Traceback" in line for line in child.last_lines(400))
    deadline = time.monotonic() + START_S
    while not all(_dropped(system.edge_counters(), why) for why in ("truncated", "version")):
        assert time.monotonic() < deadline, system.edge_counters()
        time.sleep(0.1)


def test_signed_frames_are_captioned_and_those_of_another_key_refused(system: System) -> None:
    keys = {"device": "ab" * 32, "edge": "cd" * 32}
    for name, key in keys.items():
        (system.folder / f"{name}.key").write_text(f"{key}\n")
    system.configure("device", f'key_file = "{system.folder / "device.key"}"')
    system.configure("edge", f'device_keys = {{ demo = "{system.folder / "edge.key"}" }}')
    system.configure("edge", "stats_every_s = 1.0")
    system.start("device", "edge")
    deadline = time.monotonic() + START_S
    while not _dropped(system.edge_counters(), "mac"):
        assert time.monotonic() < deadline, system.edge_counters()
        time.sleep(0.1)
    assert system.captions() == []
    assert system.child("edge").stop() == 0
    (system.folder / "edge.key").write_text(keys["device"])
    system.start("edge")
    system.wait_for_captions(10)


@pytest.mark.parametrize("tier", ["device", "edge"])
def test_sigterm_ends_a_daemon_in_good_order(tier: str, system: System) -> None:
    system.start("device", "edge")
    system.wait_for_captions(2)
    topic = "aiflow/demo/available" if tier == "device" else "aiflow/edge/demo/available"
    assert system.recorder.last(topic) == b"online"
    began = time.monotonic()
    assert system.child(tier).stop() == 0
    assert time.monotonic() - began < 4.0
    deadline = time.monotonic() + 2.0
    while system.recorder.last(topic) != b"offline":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not any("Traceback" in line for line in system.child(tier).last_lines(200))


def test_sigterm_ends_a_cloud_worker_in_good_order(system: System) -> None:
    system.start("cloud")
    deadline = time.monotonic() + START_S
    while not any("connected" in line for line in system.child("cloud").last_lines(20)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert system.child("cloud").stop() == 0


def test_a_device_that_is_killed_is_told_offline_by_its_will(system: System) -> None:
    system.start("device", "edge")
    system.wait_for_captions(1)
    system.child("device").kill()
    deadline = time.monotonic() + START_S
    while system.recorder.last("aiflow/demo/available") != b"offline":
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_watch_shows_captions_for_people_and_for_programs(system: System) -> None:
    system.start("device", "edge")
    system.wait_for_captions(1)
    url = f"mqtt://127.0.0.1:{system.broker.port}"
    plain = run("watch", "--broker", url, "--count", "2")
    assert plain.returncode == 0
    assert plain.stdout.count("demo/street") == 2
    lines = run("watch", "--broker", url, "--count", "3", "--json").stdout.splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 3


def test_tiers_wait_for_a_broker_that_comes_later(system: System) -> None:
    system.broker.stop()
    system.start("device", "edge")
    edge = system.child("edge")
    wait_until(
        lambda: any("cannot be reached" in line for line in edge.last_lines(20)),
        START_S,
        "the edge node says that there is none",
    )
    time.sleep(1.0)
    assert all(system.child(tier).running for tier in ("device", "edge"))
    system.broker.start()
    system.wait_for_captions(3, timeout_s=START_S)


def test_a_device_without_its_camera_goes_on_and_says_so(system: System, tmp_path: Path) -> None:
    settings: dict[str, toml.Value] = {
        "device": "blind",
        "bundle": "street",
        "broker": {"port": system.broker.port},
        "camera": [{"name": "door", "uri": str(tmp_path / "no-such-video.mp4")}],
        "outbox": {"path": tmp_path / "blind.sqlite"},
    }
    folder = tmp_path / "blind"
    folder.mkdir()
    with tier_process("device", toml.text(settings), folder) as child:
        wait_until(
            lambda: (
                system.recorder.last("aiflow/blind/door/status") == b"offline"
                and any("no-such-video.mp4 is not there" in line for line in child.last_lines(20))
            ),
            START_S,
            "it is offline, and its log says why",
        )
        assert not any("Traceback" in line for line in child.last_lines(40))

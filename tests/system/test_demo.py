from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiflow.common.config import Broker
from aiflow.common.mqtt import Properties, Session
from aiflow.rig.broker import PrivateBroker

DEMO = (sys.executable, "-P", "-m", "aiflow", "demo")


class Demo:
    """`aiflow demo` in a process of its own, its output read as it comes."""

    def __init__(self, *options: str) -> None:
        self.began = time.monotonic()
        self.guards: list[int] = []
        # Who runs the tests in the background has SIGINT ignored, and children inherit that.
        command = ["env", "--default-signal=INT", *DEMO, *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def rows(self) -> Iterator[str]:
        """Lines of captions as they come."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if re.match(r"\s*\d+  (device|edge|cloud) ", line):
                yield line

    def children(self) -> dict[str, int]:
        """Process ids of the broker and the tiers; `guards` gets the others."""
        found = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            for pid in (task / "children").read_text().split():
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if words[0] == "sh":
                    self.guards.append(int(pid))
                else:
                    name = words[words.index("aiflow") + 1] if "aiflow" in words else "broker"
                    found[name] = int(pid)
        return found

    def end(self, number: signal.Signals | None = None) -> tuple[int, str, str]:
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for demo in started:
        if demo.process.poll() is None:
            demo.process.kill()
        demo.process.communicate()


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_the_demo_shows_thirty_captions_and_what_they_cost(
    tmp_path: Path, demos: list[Demo]
) -> None:
    demo = Demo("--fps", "8", "--json", str(tmp_path / "run.json"))
    demos.append(demo)
    next(demo.rows())
    first_caption_s = time.monotonic() - demo.began
    children = demo.children()
    status, out, err = demo.end()
    assert (status, err) == (0, "")
    assert first_caption_s < 8.0
    assert children.keys() == {"broker", "device", "edge", "cloud"}
    assert all(gone(pid) for pid in children.values())
    assert re.search(
        r"^30 captions: \d+ (edge|cloud)(, \d+ cloud)? \| p50 [\d,]+ ms, p95 [\d,]+ ms"
        r" \| \d+ B a frame, [\d,]+x below JPEG \| facts right \d\.\d\d$",
        out.splitlines()[-1],
    )
    run = json.loads((tmp_path / "run.json").read_text())
    captions, summary = run["captions"], run["summary"]
    assert len(captions) == len({caption["id"] for caption in captions}) == 30
    assert summary["captions"] == sum(summary["by_tier"].values()) == 30
    assert len(run["events"]) == 30 + summary["updates"]
    assert summary["fact_f1"] >= 0.85
    assert 0 < summary["uplink_bytes_mean"] <= 200
    assert summary["jpeg_bytes_mean"] > 5_000
    assert 0 < summary["latency_p50_s"] <= summary["latency_p95_s"] < 2.0


def test_a_slow_link_shows_in_the_latency(tmp_path: Path, demos: list[Demo]) -> None:
    path = tmp_path / "run.json"
    demo = Demo("--frames", "6", "--fps", "10", "--link", "25KB/s,200ms", "--json", str(path))
    demos.append(demo)
    status, out, _ = demo.end()
    assert status == 0
    assert "device -> link 25KB/s,200ms -> mosquitto" in out
    summary = json.loads(path.read_text())["summary"]
    assert 0.1 < summary["latency_p50_s"] < 1.0


def test_without_the_cloud(tmp_path: Path, demos: list[Demo]) -> None:
    path = str(tmp_path / "run.json")
    demo = Demo("--frames", "5", "--fps", "10", "--mode", "split", "--json", path)
    demos.append(demo)
    next(demo.rows())
    children = demo.children()
    assert children.keys() == {"broker", "device", "edge"}
    assert demo.end()[0] == 0
    run = json.loads((tmp_path / "run.json").read_text())
    assert {caption["tier"] for caption in run["captions"]} == {"edge"}


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_and_all_that_it_started(
    number: signal.Signals, status: int, demos: list[Demo]
) -> None:
    demo = Demo("--frames", "1000")
    demos.append(demo)
    next(demo.rows())
    children = demo.children()
    began = time.monotonic()
    returned, _, err = demo.end(number)
    assert (returned, err.strip()) == (status, "")
    assert time.monotonic() - began < 6.0
    assert all(gone(pid) for pid in children.values())


def test_killed_it_leaves_nothing_behind(demos: list[Demo]) -> None:
    demo = Demo("--frames", "1000")
    demos.append(demo)
    next(demo.rows())
    pids = [*demo.children().values(), *demo.guards]
    assert len(pids) == 2 * len(("broker", "device", "edge", "cloud"))
    demo.end(signal.SIGKILL)
    deadline = time.monotonic() + 60.0
    while not all(map(gone, pids)):
        assert time.monotonic() < deadline, "a process outlives the demo"
        time.sleep(0.05)


def test_forever_ends_by_ctrl_c_with_its_summary(tmp_path: Path, demos: list[Demo]) -> None:
    demo = Demo("--forever", "--fps", "10", "--json", str(tmp_path / "run.json"))
    demos.append(demo)
    rows = demo.rows()
    while not next(rows).startswith("  3 "):
        pass
    status, out, _ = demo.end(signal.SIGINT)
    assert status == 0
    assert "captions:" in out.splitlines()[-1]
    assert json.loads((tmp_path / "run.json").read_text())["summary"]["captions"] >= 3


@pytest.mark.parametrize("name", ["edge", "broker"])
def test_the_death_of_a_process_is_told_and_ends_the_demo(name: str, demos: list[Demo]) -> None:
    demo = Demo("--frames", "1000")
    demos.append(demo)
    next(demo.rows())
    children = demo.children()
    os.kill(children[name], signal.SIGKILL)
    status, _, err = demo.end()
    assert status == 1
    assert f"{'mosquitto' if name == 'broker' else name} was ended by SIGKILL" in err
    assert "Traceback" not in err
    assert all(gone(pid) for pid in children.values())


def test_a_camera_that_is_not_there_is_told(demos: list[Demo], tmp_path: Path) -> None:
    demo = Demo("--camera", str(tmp_path / "no-such-video.mp4"), "--bundle", "nowhere")
    demos.append(demo)
    status, _, err = demo.end()
    assert status == 1
    assert "no bundle 'nowhere'" in err
    assert "Traceback" not in err


def test_a_broker_of_others_is_left_as_it_was(demos: list[Demo]) -> None:
    with PrivateBroker() as private:
        demo = Demo("--frames", "4", "--fps", "10", "--broker", private.url)
        demos.append(demo)
        status, out, err = demo.end()
        assert (status, err) == (0, "")
        assert private.url in out
        retained: list[str] = []

        def take(topic: str, _payload: bytes, properties: Properties) -> None:
            if properties.retained:
                retained.append(topic)

        session = Session(Broker(port=private.port), "visitor")
        session.subscribe("aiflow/#", 1, take)
        session.start()
        session.wait_connected(5.0)
        time.sleep(0.3)
        session.close()
    assert retained == []

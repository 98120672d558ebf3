"""What the pages promise to those outside: every example runs, beside a real device and edge."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import commands
from aiflow.client import Broker, Captions, Embeddings
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request

if TYPE_CHECKING:
    from tests.system.conftest import System

DOCS = Path(__file__).resolve().parents[2] / "docs"
PATIENCE_S = 60.0


def blocks(page: str, language: str) -> list[str]:
    """Those of a page of docs/ that can be tried here."""
    found = (one for one in commands.blocks(language) if one.page == f"docs/{page}")
    return [one.text for one in found if one.needs is None]


@contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process whose output is read; killed at the end if it is still there."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, encoding="utf-8", errors="replace"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_examples_in_python_run_as_they_are_written(system: System) -> None:
    examples = blocks("python.md", "python")
    assert len(examples) == 4
    system.configure(
        "device", "sending = { key_every_s = 2.0 }"
    )  # each example comes in the middle
    system.start("device", "edge")
    system.wait_for_captions(1, PATIENCE_S)
    with ExitStack() as stack:
        started = []
        for example in examples:  # side by side: each waits for what comes
            own = example.replace('host="broker.local"', f"port={system.broker.port}")
            assert own != example
            started.append(stack.enter_context(running([sys.executable, "-P", "-c", own])))
        for example, process in zip(examples, started, strict=True):
            said, complaint = process.communicate(timeout=PATIENCE_S)
            assert (process.returncode, complaint) == (0, ""), complaint
            assert said
            code = [line for line in example.splitlines() if line and "import" not in line]
            assert len(code) <= 15


def test_embeddings_are_what_the_edge_node_captions(system: System) -> None:
    captioner = Captioner(Bundle.open("street"), "edge")
    broker = Broker(port=system.broker.port)
    with Captions(broker) as captions, Embeddings(broker) as embeddings:
        system.start("device", "edge")
        frames = {(one.epoch_ms, one.sequence): one for one in islice(embeddings, 12)}
        read = 0
        while read < 5:
            said = captions.next(PATIENCE_S)
            assert said is not None, embeddings.skipped
            epoch_ms, _, sequence = said.id.rpartition("/")[2].rpartition("-")
            frame = frames.get((int(epoch_ms, 16), int(sequence)))
            if frame is None:
                continue
            (draft,) = captioner.caption([Request(frame.symbols)])
            assert draft.text == said.text
            assert frame.timestamp == pytest.approx(said.timestamp)
            read += 1
    assert len(frames) == 12  # each once, deltas among them


def test_who_comes_later_reads_again_from_the_next_key_frame(system: System) -> None:
    # Each example comes in the middle of the stream. Every frame is sent, as few are enough here.
    system.configure(
        "device", "sending = { key_every_s = 2.0 }\ngate = { pixel_mean = 0, symbols = 0 }"
    )
    system.start("device", "edge")
    system.wait_for_captions(10, PATIENCE_S)  # by now it sends differences
    stream = Embeddings(Broker(port=system.broker.port), timeout_s=PATIENCE_S)
    assert len(list(islice(stream, 5))) == 5


def test_commands_for_subscribers_print_something(system: System) -> None:
    lines = [
        line
        for block in blocks("mqtt.md", "sh")
        for line in block.splitlines()
        if line.startswith("mosquitto_sub") and ("jq" not in line or shutil.which("jq"))
    ]
    assert len(lines) >= 4
    system.start("device", "edge")
    system.wait_for_captions(3, PATIENCE_S)
    plan = system.plan
    with ExitStack() as stack:
        started = []
        for command in lines:
            own = command.replace("PORT", str(system.broker.port))
            own = own.replace("gate-pi/yard", f"{plan.device}/{plan.camera}")
            # -W ends it after so many seconds; what is printed until then is kept by the pipe.
            own = own.replace("mosquitto_sub ", "mosquitto_sub -W 3 ", 1)
            started.append(stack.enter_context(running(["bash", "-c", own])))
        for command, process in zip(lines, started, strict=True):
            said, complaint = process.communicate(timeout=PATIENCE_S)
            assert said, (command, complaint)


def test_the_flow_for_node_red_hangs_together() -> None:
    nodes = json.loads((DOCS / "nodered" / "aiflow.json").read_text(encoding="utf-8"))
    by_id = {node["id"]: node for node in nodes}
    assert len(by_id) == len(nodes)
    wired = [wire for node in nodes for wires in node.get("wires", []) for wire in wires]
    assert set(wired) <= set(by_id)
    for node in nodes:
        assert node.get("z", "aiflow-flow") in by_id
        if node["type"] == "mqtt in":
            assert by_id[node["broker"]]["type"] == "mqtt-broker"
            assert node["topic"] == "aiflow/+/+/event"
    ways = {node["id"] for node in nodes if node["type"] not in {"tab", "mqtt-broker", "mqtt in"}}
    assert ways == set(wired)

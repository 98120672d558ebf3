from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from tests.system.conftest import START_S, Recorder, wait_until

from aiflow.common.messages import Descriptor

if TYPE_CHECKING:
    from tests.system.conftest import System


def test_topics_and_json_are_those_of_the_design(system: System) -> None:
    port = str(system.broker.port)
    listening = subprocess.Popen(
        ["mosquitto_sub", "-p", port, "-t", "aiflow/#", "-v", "-F", "%r %t %p"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",  # embeddings are binary
    )
    system.start()
    system.wait_for_captions(8)
    heard = system.recorder.messages
    wait_until(lambda: bool(heard("aiflow/demo/street/receipt")), START_S, "a receipt")
    system.wait_for_captions(len(system.captioned()) + 4)  # whoever listens beside us has it too
    listening.terminate()
    written, _ = listening.communicate(timeout=10)
    by_topic: dict[str, list[str]] = {}
    for line in written.splitlines():
        if match := re.match(r"[01] (aiflow/\S+) (.*)", line):
            by_topic.setdefault(match[1], []).append(match[2])
    camera = "aiflow/demo/street"
    expected = {
        "aiflow/demo/available",
        "aiflow/edge/demo/available",
        *(f"{camera}/{leaf}" for leaf in ("status", "descriptor", "embedding", "receipt")),
        *(f"{camera}/{leaf}" for leaf in ("caption", "event", "enabled/state")),
    }
    assert by_topic.keys() >= expected
    assert by_topic.keys() - expected <= {
        "aiflow/cloud/demo/request",
        "aiflow/edge/demo/reply",
        "aiflow/demo/stats",
        "aiflow/edge/demo/stats",
    }
    assert by_topic["aiflow/demo/available"][-1] == "online"
    assert by_topic[f"{camera}/enabled/state"][-1] == "ON"
    assert by_topic[f"{camera}/status"][-1] == "online"
    descriptor = Descriptor.from_json(by_topic[f"{camera}/descriptor"][-1].encode())
    assert (descriptor.bundle_name, descriptor.synthetic) == ("street", True)
    caption = json.loads(by_topic[f"{camera}/event"][0])
    assert caption.keys() >= {
        "id", "device", "camera", "timestamp", "type", "text", "confidence", "tier", "mode",
        "bytes", "latency_s", "bundle", "late", "sequence", "reason",
    }  # fmt: skip
    assert caption["bytes"].keys() >= {"embedding", "uplink"}
    assert caption["id"] == f"demo/street/{descriptor.epoch_ms:x}-{caption['sequence']}"


def test_a_newcomer_gets_what_is_retained_and_nothing_else(system: System) -> None:
    system.start("device", "edge")
    system.wait_for_captions(2)
    newcomer = Recorder(system.broker.port)
    try:
        newcomer.publish("aiflow/after", b"")  # comes back when all that is retained has come
        wait_until(lambda: "aiflow/after" in newcomer.topics(), START_S, "the broker answers")
    finally:
        newcomer.close()
    assert newcomer.retained() == {
        "aiflow/demo/available",
        "aiflow/edge/demo/available",
        "aiflow/demo/street/status",
        "aiflow/demo/street/descriptor",
        "aiflow/demo/street/caption",
        "aiflow/demo/street/enabled/state",
    }


def test_the_computed_bytes_of_a_frame_are_those_at_the_socket(system: System) -> None:
    """`bytes.uplink` against what the relay counted, connection set-up and acks aside."""
    system.start("device", "edge")
    system.wait_for_captions(5)
    before_bytes, before = system.link.up_bytes, system.captioned()
    system.wait_for_captions(len(before) + 10)
    counted, after = system.link.up_bytes - before_bytes, system.captioned()
    claimed = sum(
        caption.bytes.uplink
        for caption in system.captions()
        if caption.type == "new" and caption.id in after - before
    )
    assert counted == pytest.approx(claimed, rel=0.25)

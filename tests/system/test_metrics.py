"""The three tiers as Prometheus sees them: names as documented, figures as in `stats`."""

from __future__ import annotations

import re
import socket
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from aiflow.common.catalogue import CATALOGUE
from aiflow.common.messages import DeviceStats, EdgeStats

if TYPE_CHECKING:
    from tests.system.conftest import System

pytest.importorskip("prometheus_client", reason="needs prometheus-client, of each tier's extra")

PATIENCE_S = 60.0
TIERS = ("device", "edge", "cloud")


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def scrape(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    told = (line.rpartition(" ") for line in lines if line.startswith("aiflow_"))
    return {series: float(value) for series, _, value in told}


def until_scraped(port: int, series: str) -> dict[str, float]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            told = scrape(port)
        except (urllib.error.URLError, ConnectionError):
            told = {}
        if told.get(series, 0) > 0:
            return told
        assert time.monotonic() < deadline, (series, told)
        time.sleep(0.05)


def test_every_tier_tells_prometheus_what_is_documented(system: System) -> None:
    ports = dict(zip(TIERS, free_ports(3), strict=True))
    for tier, port in ports.items():
        system.configure(tier, f"metrics = {{ port = {port} }}")
    system.configure("edge", "threshold = 1.0")  # so that the cloud has work
    system.start()
    system.wait_for_captions(5, PATIENCE_S)
    answered = {
        "device": "aiflow_outbox_bytes",
        "edge": 'aiflow_escalation_replies_total{outcome="answered"}',
        "cloud": "aiflow_answered_total",
    }
    told = {"device": scrape(ports["device"])} | {
        tier: until_scraped(ports[tier], answered[tier]) for tier in ("edge", "cloud")
    }
    for tier, series in told.items():
        for name in {one.partition("{")[0] for one in series}:
            plain = re.sub(r"_(sum|count|bucket)$", "", name)
            assert tier in CATALOGUE[plain].tiers, name
        assert series["aiflow_connected"] == 1
        assert series[next(one for one in series if one.startswith("aiflow_info"))] == 1
    device, edge = told["device"], told["edge"]
    camera = f'camera="{system.plan.camera}"'
    assert device[f"aiflow_camera_online{{{camera}}}"] == 1
    assert device[f"aiflow_encode_seconds_count{{{camera}}}"] >= 5
    assert device[f'aiflow_frames_total{{{camera},step="accepted"}}'] >= 5
    assert device[f'aiflow_frames_total{{{camera},step="sent"}}'] >= 5
    assert device[f'aiflow_frames_total{{{camera},step="sent_again"}}'] >= 0
    assert device['aiflow_published_bytes_total{kind="key"}'] > 0
    latency = 'aiflow_caption_latency_seconds_count{tier="edge"}'
    assert edge[latency] == edge['aiflow_captions_total{tier="edge",type="new"}']
    assert edge['aiflow_escalations_total{reason="confidence"}'] > 0


def test_counters_are_those_of_the_statistics(system: System) -> None:
    device_port, edge_port = free_ports(2)
    system.configure("device", f"metrics = {{ port = {device_port} }}\nstats_every_s = 1.0")
    system.configure("edge", f"metrics = {{ port = {edge_port} }}\nstats_every_s = 1.0")
    system.start("device", "edge")
    system.wait_for_captions(5, PATIENCE_S)
    system.camera("OFF")
    for port, topic, stats in (
        (device_port, system.topics.device_stats(system.plan.device), DeviceStats),
        (edge_port, system.topics.edge_stats(system.plan.node), EdgeStats),
    ):
        deadline = time.monotonic() + PATIENCE_S
        while True:  # until nothing moves any more, and the message of a whole second is there
            payload = system.recorder.last(topic)
            said = stats.from_json(payload).counters if payload else {}
            told = scrape(port)
            if said and {series: told[series] for series in said} == said:
                break
            assert time.monotonic() < deadline, (said, told)
            time.sleep(0.2)

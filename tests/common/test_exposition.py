"""What Prometheus is told: complete, named as documented, and nothing counted twice."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="needs prometheus-client, of each tier's extra")

from prometheus_client.parser import text_string_to_metric_families

from aiflow.common import exposition
from aiflow.common.catalogue import CATALOGUE
from aiflow.common.config import Metrics
from aiflow.common.exposition import Reading, Total, exposed
from aiflow.common.metrics import Counters, Distribution

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "ab" * 32
NAME = re.compile(r"aiflow_[a-z_]+[a-z]")
OF_PROCESS = {"process_cpu_seconds_total"}
"""Of those that prometheus-client adds by itself, the ones that the dashboard shows."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def scraped(port: int) -> dict[str, float]:
    """Series as they are written, to their values."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    series = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            series[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return series


def nothing() -> Iterable[Reading]:
    return []


def names_in_the_code() -> set[str]:
    """Every metric that the tiers can emit, by what they write into their sources."""
    found = set()
    for folder in ("common", "device", "edge", "cloud"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "catalogue.py":
                continue
            text = path.read_text(encoding="utf-8")
            found |= set(re.findall(rf'"({NAME.pattern})"', text))
            if folder == "device":
                stages = re.findall(r'stages\.(?:measure|add)\("(\w+)"', text)
                found |= {f"aiflow_{stage}_seconds" for stage in stages}
    assert "aiflow_encode_seconds" in found
    return found


def test_the_catalogue_has_what_the_code_can_emit_and_nothing_else() -> None:
    assert names_in_the_code() == set(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
def test_names_follow_the_conventions(name: str) -> None:
    kind = CATALOGUE[name].kind
    assert name.endswith("_total") == (kind == "counter")
    assert kind not in {"summary", "histogram"} or name.endswith("_seconds")
    assert not re.search(r"_(ms|kb|mb|minutes)(_|$)", name)


def test_the_page_has_every_metric() -> None:
    rows = ["| name | kind | labels | tiers | meaning |", "|---|---|---|---|---|"]
    for name, metric in CATALOGUE.items():
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        tiers = ", ".join(metric.tiers)
        rows.append(f"| `{name}` | {metric.kind} | {labels} | {tiers} | {metric.meaning} |")
    table = "\n".join(rows)
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert table in page, f"put this table there:\n{table}"


def test_the_page_names_nothing_that_is_not_there() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert set(NAME.findall(page)) <= set(CATALOGUE)


def test_the_dashboard_asks_for_nothing_that_is_not_there() -> None:
    dashboard = json.loads((ROOT / "docs" / "grafana" / "aiflow.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(asked) > 20
    assert [panel["id"] for panel in dashboard["panels"]] == sorted(
        {panel["id"] for panel in dashboard["panels"]}
    )
    known = set(OF_PROCESS)
    for name, metric in CATALOGUE.items():
        ends = {"summary": ("_sum", "_count"), "histogram": ("_bucket", "_sum", "_count")}
        known |= {name + end for end in ends.get(metric.kind, ("",))}
    for query in asked:
        selectors = re.findall(r"([a-z_]+)\{([^}]*)\}", query)
        assert selectors, query
        assert {name for name, _ in selectors} <= known, query
        for label in re.findall(r"by \(([^)]*)\)", query)[:1]:
            ours = {"le", *CATALOGUE[re.sub("_bucket$", "", selectors[0][0])].labels}
            assert set(label.split(", ")) <= ours, query


def test_counters_and_readings_are_told_as_they_are_and_once() -> None:
    counters, port = Counters(), free_port()
    counters.add("aiflow_published_bytes_total", 40, kind="key")
    counters.add("aiflow_published_bytes_total", 20, kind="delta")
    latency = Distribution((0.1, 1.0))
    for seconds in (0.1, 0.5, 7.0):
        latency.add(seconds)

    def readings() -> Iterable[Reading]:
        yield Reading("aiflow_outbox_entries", 3)
        yield Reading("aiflow_encode_seconds", Total(4, 0.5), {"camera": 'the "door"'})
        yield Reading("aiflow_caption_latency_seconds", latency, {"tier": "edge"})

    with exposed(Metrics(port=port), BUNDLE, counters, readings):
        told = scraped(port)
        counters.add("aiflow_published_bytes_total", 1, kind="key")
        again = scraped(port)
    assert told['aiflow_published_bytes_total{kind="key"}'] == 40
    assert again['aiflow_published_bytes_total{kind="key"}'] == 41
    assert told['aiflow_published_bytes_total{kind="delta"}'] == 20
    assert told["aiflow_outbox_entries"] == 3
    assert told['aiflow_encode_seconds_count{camera="the "door""}'] == 4
    assert told['aiflow_encode_seconds_sum{camera="the "door""}'] == 0.5
    buckets = [
        told[f'aiflow_caption_latency_seconds_bucket{{le="{le}",tier="edge"}}']
        for le in ("0.1", "1.0", "+Inf")
    ]
    assert buckets == [1, 2, 3]
    assert told['aiflow_caption_latency_seconds_sum{tier="edge"}'] == pytest.approx(7.6)
    assert [name for name in told if name.startswith("aiflow_info")]
    assert set(told) >= OF_PROCESS


def test_without_a_port_nothing_listens() -> None:
    before = threading.active_count()
    with exposed(Metrics(), BUNDLE, Counters(), nothing):
        assert threading.active_count() == before


def test_only_metrics_are_there_and_the_thread_ends() -> None:
    port = free_port()
    with (
        exposed(Metrics(port=port), BUNDLE, Counters(), nothing),
        pytest.raises(urllib.error.HTTPError, match="404"),
    ):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert "metrics" not in {thread.name for thread in threading.enumerate()}


def test_a_client_that_says_nothing_does_not_keep_others_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exposition, "CLIENT_S", 0.2)
    port = free_port()
    with (
        exposed(Metrics(port=port), BUNDLE, Counters(), nothing),
        socket.create_connection(("127.0.0.1", port)),
    ):
        assert [name for name in scraped(port) if name.startswith("aiflow_info")]


def test_a_port_that_is_taken_is_an_error_in_the_log_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    worked = False
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Metrics(port=taken.getsockname()[1])
        with caplog.at_level(logging.ERROR), exposed(settings, BUNDLE, Counters(), nothing):
            worked = True
    assert worked
    assert "Address already in use" in caplog.text

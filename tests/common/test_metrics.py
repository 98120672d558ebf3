from __future__ import annotations

import logging
import threading

import pytest

from aiflow.common.metrics import OVERFLOW, Counters, Faults


def test_counts_by_name_and_labels() -> None:
    counters = Counters()
    assert counters.add("aiflow_captions_total", tier="edge") == 1
    assert counters.add("aiflow_captions_total", 2, tier="edge") == 3
    counters.add("aiflow_captions_total", tier="cloud")
    assert counters.value("aiflow_captions_total", tier="edge") == 3
    assert counters.value("aiflow_captions_total", tier="device") == 0
    assert counters.total("aiflow_captions_total") == 4


def test_snapshot_reads_like_prometheus() -> None:
    counters = Counters()
    counters.add("b_total")
    counters.add("a_total", reason='say "x"', kind="key")
    assert counters.snapshot() == {'a_total{kind="key",reason="say \\"x\\""}': 1, "b_total": 1}
    assert list(counters.snapshot()) == sorted(counters.snapshot())


def test_the_order_of_labels_does_not_matter() -> None:
    counters = Counters()
    counters.add("a_total", x="1", y="2")
    counters.add("a_total", y="2", x="1")
    assert counters.value("a_total", x="1", y="2") == 2


def test_series_are_bounded() -> None:
    counters = Counters(max_series=2)
    for number in range(5):
        counters.add("a_total", reason=str(number))
    assert counters.value(OVERFLOW) == 3
    assert counters.add("a_total", reason="1") == 2
    assert len(counters.snapshot()) == 3


def test_threads_lose_no_count() -> None:
    counters = Counters()

    def work() -> None:
        for _ in range(1000):
            counters.add("a_total")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.value("a_total") == 4000


def test_faults_are_counted_always_and_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    counters = Counters()
    log = logging.getLogger("test.faults")
    faults = Faults(counters, "errors_total", log, log_every_s=60.0, clock=lambda: now[0])
    for _ in range(5):
        faults.record("mac", "the MAC does not fit")
    faults.record("version", "version 3")
    assert counters.value("errors_total", reason="mac") == 5
    assert [record.getMessage() for record in caplog.records] == [
        "mac: the MAC does not fit",
        "version: version 3",
    ]
    now[0] = 60.0
    faults.record("mac", "again")
    assert caplog.records[-1].getMessage() == "mac: again (4 more since the last such line)"

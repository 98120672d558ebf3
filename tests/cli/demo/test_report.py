from __future__ import annotations

from collections.abc import Callable

import pytest

from aiflow.cli.demo import report
from aiflow.cli.demo.report import Tally, percentile
from aiflow.common.messages import Caption
from aiflow.rig.truth import Truth

CaptionMaker = Callable[..., Caption]
FACTS = frozenset({("kind", "near-left", "bus"), ("colour", "near-left", "red")})


@pytest.fixture(autouse=True)
def _grammar_of_two_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {"bus": ("kind", "near-left", "bus"), "red": ("colour", "near-left", "red")}

    def parse(text: str) -> frozenset[tuple[str, str, str]]:
        return frozenset(words[word] for word in text.split() if word in words)

    monkeypatch.setattr(report, "parse", parse)


def test_a_frame_has_one_number_and_its_update_the_same(make_caption: CaptionMaker) -> None:
    run = Tally()
    first = run.add(make_caption(3), None)
    second = run.add(make_caption(4), None)
    better = run.add(make_caption(3, tier="cloud", update=True), None)
    assert first is not None
    assert second is not None
    assert better is first
    assert (first.number, second.number) == (1, 2)
    assert first.first.tier == "edge"
    assert first.latest.tier == "cloud"
    assert [event.type for event in run.events] == ["new", "new", "update"]


def test_the_event_of_a_trigger_is_no_caption(make_caption: CaptionMaker) -> None:
    run = Tally()
    fired = make_caption(3).model_copy(update={"type": "trigger", "trigger": "bus"})
    assert run.add(fired, None) is None
    assert run.add(make_caption(3), None) is not None
    assert run.add(fired, None) is None
    assert (run.count, run.updates, len(run.events)) == (1, 0, 1)


def test_a_caption_that_comes_twice_counts_once(make_caption: CaptionMaker) -> None:
    run = Tally()
    run.add(make_caption(3), None)
    assert run.add(make_caption(3), None) is None
    assert run.count == len(run.events) == 1


def test_an_update_that_overtakes_its_caption_still_is_a_frame(make_caption: CaptionMaker) -> None:
    run = Tally()
    assert run.add(make_caption(3, tier="cloud", update=True), None) is not None
    assert run.add(make_caption(3), None) is None
    assert run.summary(0).by_tier == {"cloud": 1}


def test_a_gap_in_the_sequence_is_a_missing_caption(make_caption: CaptionMaker) -> None:
    run = Tally()
    assert run.missing() == []
    for sequence in (1, 4, 2):
        run.add(make_caption(sequence), None)
    assert run.missing() == [0, 3]
    for sequence in (3, 0):
        run.add(make_caption(sequence), None)
    assert run.missing() == []


def test_the_summary_of_a_run(make_caption: CaptionMaker) -> None:
    run = Tally()
    right, half = "a red bus", "a blue bus"
    run.add(make_caption(0, text=half, total_s=0.010), Truth(FACTS, 30_000))
    run.add(make_caption(1, text=right, total_s=0.030), Truth(FACTS, 20_000))
    run.add(make_caption(2, text=half, total_s=0.020), None)
    run.add(make_caption(0, text=right, tier="cloud", update=True, total_s=0.5), None)
    summary = run.summary(uplink_bytes=150)
    assert summary.captions == 3
    assert summary.by_tier == {"edge": 2, "cloud": 1}
    assert summary.updates == 1
    assert (summary.latency_p50_s, summary.latency_p95_s) == (0.020, 0.030)
    assert summary.uplink_bytes_mean == 50
    assert summary.jpeg_bytes_mean == 25_000
    assert summary.jpeg_ratio == 500
    assert summary.fact_f1 == 1.0
    assert summary.fact_f1_by_tier == {"cloud": 1.0, "edge": 1.0}
    assert str(summary) == (
        "3 captions: 2 edge, 1 cloud | p50 20 ms, p95 30 ms | 50 B a frame, 500x below JPEG"
        " | facts right 1.00"
    )


def test_facts_are_scored_over_all_frames_together(make_caption: CaptionMaker) -> None:
    run = Tally()
    run.add(make_caption(0, text="a red bus"), Truth(FACTS, 1))
    run.add(make_caption(1, text="a bus"), Truth(FACTS, 1))
    # Three facts stated, all right; four true.
    assert run.summary(0).fact_f1 == pytest.approx(6 / 7)


def test_a_real_camera_has_no_truth(make_caption: CaptionMaker) -> None:
    run = Tally()
    run.add(make_caption(0), None)
    summary = run.summary(uplink_bytes=100)
    assert summary.fact_f1 is None
    assert summary.fact_f1_by_tier is None
    assert summary.jpeg_bytes_mean is None
    assert str(summary).endswith("100 B a frame")


def test_the_keys_of_the_summary_are_the_ones_promised() -> None:
    keys = Tally().summary(0).to_json().keys()
    assert keys >= {
        "captions",
        "by_tier",
        "latency_p50_s",
        "latency_p95_s",
        "uplink_bytes_mean",
        "jpeg_bytes_mean",
        "fact_f1",
        "fact_f1_by_tier",
    }


def test_a_run_for_days_keeps_what_is_bounded(
    make_caption: CaptionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "MAX_FRAMES", 10)
    run = Tally()
    for sequence in range(50):
        run.add(make_caption(sequence), None)
    assert len(run.frames) == 10
    assert run.missing() == []
    assert run.summary(0).captions == 50


@pytest.mark.parametrize(
    "values, percent, expected",
    [([], 50, 0.0), ([3.0], 95, 3.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), ([1.0, 2.0], 95, 2.0)],
)
def test_percentiles_are_values_that_were_measured(
    values: list[float], percent: float, expected: float
) -> None:
    assert percentile(values, percent) == expected

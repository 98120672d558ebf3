"""The case study: its arithmetic, and one short run of each kind of system."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pycocoevalcap", reason="needs the extra bench")

from aiflow.bench import case_runs, case_study
from aiflow.bench.case_runs import Observed, observe
from aiflow.bench.case_study import goals, summary, table
from aiflow.bench.upload import PictureCodec
from aiflow.common.messages import Caption, CaptionBytes, Latency
from aiflow.rig.link import LinkSpec


def caption(number: int, tier: str = "edge", kind: str = "new") -> Caption:
    return Caption.model_validate(
        {
            "id": str(number),
            "device": "demo",
            "camera": "street",
            "timestamp": 1000.0 + number,
            "type": kind,
            "text": "a red bus",
            "confidence": 0.5,
            "tier": tier,
            "mode": "cascade",
            "bytes": CaptionBytes(embedding=20, uplink=30),
            "latency_s": Latency(decode=0.02, total=0.1),
            "bundle": "ab" * 32,
            "late": False,
            "sequence": number,
        }
    )


def test_a_row_leaves_out_the_warm_up_and_knows_the_last_word() -> None:
    seen = Observed(uplink_bytes=21.0)
    for number in range(12):
        seen.first[str(number)] = (9.0 if number < 3 else 0.1, caption(number))
        seen.last[str(number)] = (0.3, caption(number, "cloud", "update"))
    row = summary("cascade", "25KB/s,50ms", [seen, seen])
    assert (row["frames"], row["latency_p50_s"], row["final_p50_s"]) == (18, 0.1, 0.3)
    assert row["tiers"] == {"cloud": 18}
    assert row["stages"] == {"decode": 0.02, "total": 0.1}
    assert row["live_f1"] is None


def figures() -> dict[str, Any]:
    rows = [
        {
            "system": system, "link": link, "latency_p50_s": 2.0 if "cloud" in system else 0.1,
            "latency_p95_s": 0.2, "uplink_bytes_mean": 20.0, "cider": 4.5,
            "fact_f1": 0.99, "tiers": {"edge": 3},
        }
        for link in case_study.LINKS
        for system in (*case_runs.MODES, *case_runs.UPLOADS)
    ]  # fmt: skip
    return {
        "rows": rows,
        "switch": {"own_caption_s": [1.0, 2.5], "back_s": [3.0, 4.0]},
    }


def test_goals_look_at_the_worst() -> None:
    reached = {goal.what: (goal.value, goal.reached) for goal in goals(figures())}
    assert reached["own caption after a silent cut, s (worst)"] == (2.5, False)
    assert reached["edge's caption after it heals, s (worst)"] == (4.0, True)
    share, good = reached["cascade's p50 over cloud JPEG's, 25KB/s,50ms"]
    assert share == pytest.approx(0.05)
    assert good
    page = table(figures())
    assert "| JPEG to the cloud " in page
    assert "0.100 / 0.200" in page


@pytest.mark.parametrize(
    "system, picture",
    [("split", None), ("cloud-jpeg", PictureCodec(codec="jpeg", size=(160, 120), quality=50))],
)
def test_a_short_run(
    system: str, picture: PictureCodec | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_runs, "WARM_UP", 1)
    monkeypatch.setattr(case_study, "WARM_UP", 1)
    seen = observe(system, LinkSpec.parse("1.25MB/s,20ms"), picture, 3, frames=2)
    row = summary(system, "1.25MB/s,20ms", [seen])
    assert row["frames"] >= 2
    assert list(row["tiers"]) == ["edge" if picture is None else "cloud"]
    assert row["live_f1"] > 0.5
    assert 5 < row["uplink_bytes_mean"] < (200 if picture is None else 50_000)

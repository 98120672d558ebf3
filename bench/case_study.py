"""The paper's experiment in our world: who captions, over which link, how soon and how well.

    camera -> device --- link under test --- broker --- edge            each its own process
                                                `--- 30 ms away --- cloud

Each system runs on each link for some frames of the live street. Latency is from the capture of a
frame to its caption at a listener beside the broker. The quality of a system does not depend on
the link; it is measured on test scenes, which are many more than the frames of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

import numpy as np

from aiflow.bench.case_quality import CAMERA_PICTURE, TestScenes
from aiflow.bench.case_runs import MODES, UPLOADS, WAN, WARM_UP, Observed, observe_all, switch
from aiflow.bench.tables import Goal, goal_table, markdown, number
from aiflow.rig.link import LinkSpec
from aiflow.street.grammar import parse
from aiflow.street.scene import facts_score

LINKS: Final = ("2KB/s,200ms", "25KB/s,50ms", "125KB/s,50ms", "1.25MB/s,20ms")
SCENES: Final = 400
NAMES: Final = {
    "device": "device only",
    "split": "split: device, edge",
    "cascade": "cascade: device, edge, cloud",
    "auto": "auto",
    "edge-jpeg": "JPEG to the edge",
    "cloud-jpeg": "JPEG to the cloud",
    "cloud-matched": "smallest equal picture to the cloud",
}

Row = Mapping[str, Any]
Say = Callable[[str], None]


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Mapping[str, Any]:
    """Measure everything; `scenes` (400) are for the quality of captions."""
    del plot  # the table says it all
    say(f"quality on {scenes or SCENES} test scenes")
    world = TestScenes.draw(seed, scenes or SCENES)
    matched = world.judge(say)
    pictures = dict(zip(UPLOADS, (CAMERA_PICTURE, CAMERA_PICTURE, matched), strict=True))
    rows = []
    for text in LINKS:
        for system, seen in observe_all(LinkSpec.parse(text), pictures, seed).items():
            row = summary(system, text, seen) | _quality(world, system)
            rows.append(row)
            say(line(row))
    figures = {
        "scenes": len(world.views),
        "matched": str(matched),
        "camera_picture": str(CAMERA_PICTURE),
        "wan": str(WAN),
        "rows": rows,
        "switch": switch(seed, say),
    }
    say(table(figures))
    return figures


def summary(system: str, link: str, runs: Sequence[Observed]) -> dict[str, Any]:
    """A row of the study, without the quality of captions."""
    counted = [
        (seen, one)
        for seen in runs
        for one in list(seen.first)[min(WARM_UP, len(seen.first) // 4) :]
    ]
    took = np.array([seen.first[one][0] for seen, one in counted])
    final = np.array([seen.last[one][0] for seen, one in counted])
    captions = [seen.last[one][1] for seen, one in counted]
    stages: dict[str, list[float]] = {}
    for caption in captions:
        for name, seconds in caption.latency_s.model_dump(exclude_none=True).items():
            stages.setdefault(name, []).append(seconds)
    tiers = [caption.tier for caption in captions]
    pairs = [
        (parse(caption.text), seen.truths[one].facts)
        for (seen, one), caption in zip(counted, captions, strict=True)
        if one in seen.truths
    ]
    return {
        "system": system,
        "link": link,
        "frames": len(counted),
        "runs_p50_s": [
            round(median(run.first[one][0] for seen, one in counted if seen is run), 4)
            for run in runs
        ],
        "latency_p50_s": round(float(np.median(took)), 4),
        "latency_p95_s": round(float(np.quantile(took, 0.95)), 4),
        "final_p50_s": round(float(np.median(final)), 4),
        "uplink_bytes_mean": round(mean(seen.uplink_bytes for seen in runs), 1),
        "stages": {name: round(mean(values), 5) for name, values in stages.items()},
        "tiers": {tier: tiers.count(tier) for tier in sorted(set(tiers))},
        "live_f1": round(facts_score(pairs).f1, 4) if pairs else None,
    }


def line(row: Row) -> str:
    """One run in a line."""
    tiers = ", ".join(f"{count} {tier}" for tier, count in row["tiers"].items())
    return (
        f"{row['link']:14} {row['system']:14} p50 {row['latency_p50_s']:7.3f} s"
        f"  p95 {row['latency_p95_s']:7.3f} s"
        f"  {number(row['uplink_bytes_mean']):>7} B  {tiers}"
    )


def table(figures: Mapping[str, Any]) -> str:
    """Latency over links, quality and bytes, and the goals."""
    rows: Sequence[Row] = figures["rows"]
    links = list(dict.fromkeys(row["link"] for row in rows))
    head = ("system", *(f"{link}: p50 / p95, s" for link in links), "bytes", "CIDEr", "F1")
    lines = [head]
    for system, name in NAMES.items():
        own = {row["link"]: row for row in rows if row["system"] == system}
        took = (
            f"{own[link]['latency_p50_s']:.3f} / {own[link]['latency_p95_s']:.3f}" for link in links
        )
        one = own[links[-1]]
        sent = number(one["uplink_bytes_mean"])
        lines.append((name, *took, sent, f"{one['cider']:.3f}", f"{one['fact_f1']:.4f}"))
    return f"{markdown(lines)}\n\n{goal_table(goals(figures))}"


def goals(figures: Mapping[str, Any]) -> list[Goal]:
    """What cooperation was built to reach, and what it does."""
    p50 = {(row["system"], row["link"]): row["latency_p50_s"] for row in figures["rows"]}
    slow, lan = LINKS[0], LINKS[1]
    never = max(p50["cascade", link] / p50["cloud-jpeg", link] for link in LINKS)
    matched = max(p50["cascade", link] / p50["cloud-matched", link] for link in LINKS)
    auto = max(
        p50["auto", link] / min(p50[mode, link] for mode in MODES if mode != "auto")
        for link in LINKS
    )
    switch = figures["switch"]
    return [
        Goal(f"cascade's p50 over cloud JPEG's, {lan}", "≤", 0.10,
             p50["cascade", lan] / p50["cloud-jpeg", lan]),
        Goal(f"cascade's p50 over the matched picture's, {slow}", "≤", 0.5,
             p50["cascade", slow] / p50["cloud-matched", slow]),
        Goal("cascade's p50 over cloud JPEG's, the worst link", "≤", 1.0, never),
        Goal("cascade's p50 over the matched picture's, the worst link", "≤", 1.0, matched),
        Goal("auto's p50 over the best forced mode's, the worst link", "≤", 1.1, auto),
        Goal("own caption after a silent cut, s (worst)", "≤", 2.0, max(switch["own_caption_s"])),
        Goal("edge's caption after it heals, s (worst)", "≤", 5.0, max(switch["back_s"])),
    ]  # fmt: skip


def _quality(world: TestScenes, system: str) -> dict[str, Any]:
    scores = world.scores[system]
    return {
        "cider": round(float(scores.cider.mean()), 4),
        "fact_f1": round(scores.fact_f1, 4),
    }

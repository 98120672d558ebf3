"""The case study for people: lines, tables and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

from aiflow.bench.tables import Goal, goal_table, markdown, number

NAMES: Final = {
    "device": "device only",
    "split": "split: device, edge",
    "cascade": "cascade: device, edge, cloud",
    "auto": "auto",
    "edge-jpeg": "JPEG to the edge",
    "cloud-jpeg": "JPEG to the cloud",
    "cloud-matched": "smallest equal picture to the cloud",
}
COLOURS: Final = {
    "device": "#2a8a57",
    "split": "#9a6a00",
    "cascade": "#c8102e",
    "auto": "#7b4fa3",
    "edge-jpeg": "#9db4c8",
    "cloud-jpeg": "#1f77b4",
    "cloud-matched": "#4a5a6a",
}

Row = Mapping[str, Any]


def line(row: Row) -> str:
    """One run in a line."""
    tiers = ", ".join(f"{count} {tier}" for tier, count in row["tiers"].items())
    return (
        f"{row['link']:14} {row['system']:14} p50 {row['latency_p50_s']:7.3f} s"
        f"  p95 {row['latency_p95_s']:7.3f} s  projected {row['projected_s']:7.3f} s"
        f"  {number(row['uplink_bytes_mean']):>7} B  {tiers}"
    )


def table(figures: Mapping[str, Any], goals: Sequence[Goal]) -> str:
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
    worst = max(rows, key=_off)
    model = (
        f"The model's medians are {median(map(_off, rows)):.0%} off in the middle, and"
        f" {_off(worst):.0%} at worst"
        f" ({NAMES[worst['system']]}, {worst['link']})."
    )
    part = figures["parts_s"]
    times = [("part", "ms"), *((name, f"{1e3 * part[name]:.2f}") for name in part)]
    return "\n\n".join([markdown(lines), goal_table(goals), model, markdown(times)])


def _off(row: Row) -> float:
    """How far the model is from what was measured, as a share of that."""
    return abs(float(row["projected_s"]) / float(row["latency_p50_s"]) - 1)


def draw(figures: Mapping[str, Any], folder: Path) -> None:
    """Write case-study.png: latency over links, and quality over bytes."""
    import matplotlib as mpl  # noqa: PLC0415  only for those who want the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    rows: Sequence[Row] = figures["rows"]
    links = list(dict.fromkeys(row["link"] for row in rows))
    figure, (latency, quality) = plt.subplots(
        1, 2, figsize=(13, 4.8), layout="constrained", width_ratios=(3, 2)
    )
    for system, name in NAMES.items():
        own = [row for row in rows if row["system"] == system]
        places = [links.index(row["link"]) for row in own]
        seconds = [row["latency_p50_s"] for row in own]
        latency.plot(places, seconds, "o-", color=COLOURS[system], label=name, linewidth=1.5)
        projected = [row["projected_s"] for row in own]
        latency.plot(places, projected, "_", color=COLOURS[system], markersize=14)
        last = own[-1]
        quality.plot(last["uplink_bytes_mean"], last["cider"], "o", color=COLOURS[system])
    latency.set_yscale("log")
    latency.set_xticks(range(len(links)), [link.replace(",", "\n") for link in links])
    latency.set_ylabel("seconds from capture to caption, median")
    latency.set_title("Latency (dashes: the model)", loc="left")
    latency.legend(frameon=False, fontsize=8)
    _label(quality, rows)
    quality.set_xscale("log")
    quality.set_xlabel("bytes of a frame on the device's link, MQTT included")
    quality.set_ylabel("CIDEr-D")
    quality.set_title("Quality", loc="left")
    for axis in (latency, quality):
        axis.grid(visible=True, alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "case-study.png", dpi=100)
    plt.close(figure)


def _label(axis: Any, rows: Sequence[Row]) -> None:
    """Names beside the points, those that share a place in one line."""
    last = {row["system"]: row for row in rows}
    places: dict[tuple[float, float], list[str]] = {}
    for system, row in last.items():
        place = (round(row["uplink_bytes_mean"], -1), round(row["cider"], 3))
        places.setdefault(place, []).append(system)
    for systems in places.values():
        row = last[systems[0]]
        axis.annotate(
            ", ".join(systems), (row["uplink_bytes_mean"], row["cider"]), xytext=(0, 7),
            textcoords="offset points", fontsize=8, ha="center",
        )  # fmt: skip

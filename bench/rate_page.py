"""The figures of `aiflow bench rate` for people: a table in Markdown, and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiflow.bench.tables import Goal, goal_table, markdown, number

NAMES: Final = {
    "aiflow": "AI Flow\nby tokens",
    "jpeg": "JPEG",
    "webp": "WebP",
    "avif": "AVIF",
    "features": "features + zstd",
    "tofc": "merged tokens (TOFC)",
    "slots": "pooled slots, PCA",
    "fixed": "fixed-width indices",
}
COLOURS: Final = {
    "aiflow": "#c8102e",
    "jpeg": "#9a6a00",
    "webp": "#1f77b4",
    "avif": "#2a8a57",
    "features": "#7a7a7a",
    "tofc": "#7b4fa3",
    "slots": "#d0559d",
    "fixed": "#c8102e",
}
LABELS: Final = {
    "aiflow": ((-6, 0), "right"),
    "jpeg": ((6, -4), "left"),
    "webp": ((0, -10), "center"),
    "avif": ((0, -10), "center"),
    "tofc": ((-6, 4), "right"),
    "features": ((4, -14), "left"),
    "fixed": ((6, 0), "left"),
    "slots": ((4, -10), "left"),
}
"""Where a line's name stands, in points from its place, and to which side it runs."""
LEAST_SHOWN: Final = 40
"""Per cent; below it no caption is worth its bytes."""

Figures = Mapping[str, Any]


def goals(figures: Figures) -> list[Goal]:
    """What the codec was built to reach, and what it does."""
    key, stream, ratio = figures["key"], figures["stream"], figures["ratio"]
    share = key["cider"] / max(figures["uncompressed"]["cider"], 1e-9)
    key_socket = key["socket_bytes_mean"] - key["payload_bytes_mean"]
    stream_socket = stream["socket_bytes_mean"] - stream["payload_bytes_mean"]
    return [
        Goal("CIDEr of key frames, share of uncompressed", "≥", 0.99, share),
        Goal("key payload, bytes", "≤", 32, key["payload_bytes_mean"]),
        Goal("key body, times the scene's entropy", "≤", 2, ratio["floor"]),
        Goal("stream payload, bytes a frame", "≤", 12, stream["payload_bytes_mean"]),
        Goal("best image codec, times our bytes", "≥", 20, ratio["best_image"]),
        Goal("merged tokens (TOFC), times our bytes", "≥", 6, ratio["tofc"]),
        Goal("camera JPEG, times our bytes", "≥", 500, ratio["camera_jpeg"]),
        Goal("codec, ms of one core (p95)", "≤", 2, figures["codec_ms_p95"]),
        Goal("socket beyond payload, bytes a key frame", "≤", 24, key_socket),
        Goal("socket beyond payload, bytes a stream frame", "≤", 24, stream_socket),
    ]


def table(figures: Figures) -> str:
    """Two tables in Markdown: each way at equal quality, and the goals."""
    key, stream, whole = figures["key"], figures["stream"], figures["uncompressed"]
    by_facts = figures["by_facts"]["bytes_mean"]
    camera = figures["camera_jpeg"]
    rows = [
        ("what is sent", "setting", "bytes", "CIDEr", "facts F1", "bytes at equal F1"),
        ("camera JPEG", f"640x480 quality {camera['quality']}", number(camera["bytes_mean"]),
         "", "", ""),
        ("nothing lost", "float encoder", "", f"{whole['cider']:.3f}", f"{whole['fact_f1']:.4f}",
         ""),
        *((*_row(name, one), number(by_facts[name]) if name in by_facts else "")
          for name, one in _by_bytes(figures["baselines"])),
        ("AI Flow, key frame", "payload", number(key["payload_bytes_mean"]),
         f"{key['cider']:.3f}", f"{key['fact_f1']:.4f}", ""),
        ("AI Flow, live stream", f"payload, {stream['fps']:g} fps",
         number(stream["payload_bytes_mean"]), "", f"{stream['fact_f1']:.4f}", ""),
        ("entropy of a scene", "the floor", number(figures["scene_entropy_bits"] / 8), "", "",
         ""),
    ]  # fmt: skip
    return f"{markdown(rows)}\n\n{goal_table(goals(figures))}"


def draw(figures: Figures, folder: Path) -> Path:
    """Write rate.png: share of the uncompressed CIDEr, and facts F1, over bytes."""
    import matplotlib as mpl  # noqa: PLC0415  only for those who want the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(2, 1, figsize=(9, 9), sharex=True, layout="constrained")
    whole = {"cider_share": 100.0, "fact_f1": 100.0 * figures["uncompressed"]["fact_f1"]}
    labels = {"cider_share": "CIDEr, % of uncompressed", "fact_f1": "facts F1, %"}
    for axis, measure in zip(axes, labels, strict=True):
        for family, points in figures["curves"].items():
            _curve(axis, family, points, measure)
        _marks(axis, figures, measure, whole[measure])
        axis.set_ylabel(labels[measure])
        axis.set_ylim(LEAST_SHOWN, 103)
        axis.grid(visible=True, which="both", axis="x", alpha=0.15)
        axis.grid(visible=True, axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_title("What a frame costs, and what its caption is worth", loc="left")
    axes[1].set_xlabel("bytes a frame (logarithmic)")
    axes[1].set_xscale("log")
    axes[1].xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    path = folder / "rate.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _curve(axis: Any, family: str, points: Sequence[Figures], measure: str) -> None:
    """All settings as dots, the best of them as a line with its name beside it."""
    colour = COLOURS[family]
    xs = [one["bytes_mean"] for one in points]
    ys = [100 * one[measure] for one in points]
    axis.plot(xs, ys, ".", color=colour, alpha=0.35, markersize=5)
    front: list[tuple[float, float]] = []
    for x, y in sorted(zip(xs, ys, strict=True)):
        if not front or y > front[-1][1]:
            front.append((x, y))
    marker = "D" if len(front) == 1 else "None"
    axis.plot(*zip(*front, strict=True), color=colour, linewidth=1.8, marker=marker)
    # At the lower end, where the lines are apart, unless the place is taken.
    shown = [one for one in front if one[1] >= LEAST_SHOWN + 3] or front[-1:]
    place = shown[-1] if family in {"features", "fixed"} else shown[0]
    offset, side = LABELS[family]
    name = NAMES[family].replace(" (", "\n(")
    axis.annotate(name, place, xytext=offset, textcoords="offset points",
                  color=colour, fontsize=9, ha=side, va="center")  # fmt: skip


def _marks(axis: Any, figures: Figures, measure: str, whole: float) -> None:
    """The floor, equal quality, and the live stream."""
    floor = figures["scene_entropy_bits"] / 8
    axis.axvline(floor, color="black", linestyle=":", linewidth=1.2)
    axis.annotate(
        f"entropy of a scene: {figures['scene_entropy_bits']:.0f} bits", (floor, 42),
        xytext=(-4, 0), textcoords="offset points", rotation=90, ha="right", va="bottom",
        fontsize=8,
    )  # fmt: skip
    camera = figures["camera_jpeg"]["bytes_mean"]
    axis.axvline(camera, color=COLOURS["jpeg"], linestyle=":", linewidth=1.2)
    axis.annotate("camera JPEG", (camera, 42), xytext=(-4, 0), textcoords="offset points",
                  rotation=90, ha="right", va="bottom", fontsize=8)  # fmt: skip
    line = 99.0 if measure == "cider_share" else whole
    axis.axhline(line, color="black", linewidth=0.8, alpha=0.5)
    words = "equal: 99 %" if measure == "cider_share" else "uncompressed"
    axis.annotate(words, (0.055, line), xycoords=("axes fraction", "data"), xytext=(0, 3),
                  textcoords="offset points", ha="left", fontsize=8)  # fmt: skip
    if measure == "fact_f1":
        stream = figures["stream"]
        place = (stream["payload_bytes_mean"], 100 * stream["fact_f1"])
        axis.plot(*place, marker="*", color=COLOURS["aiflow"], markersize=11)
        axis.annotate("live stream", place, xytext=(-6, -12), textcoords="offset points",
                      ha="right", color=COLOURS["aiflow"], fontsize=9)  # fmt: skip


def _by_bytes(baselines: Mapping[str, Figures]) -> list[tuple[str, Figures]]:
    return sorted(baselines.items(), key=lambda item: -float(item[1]["bytes_mean"]))


def _row(family: str, one: Figures) -> tuple[str, ...]:
    mark = "" if one["equal_quality"] else " (below equal quality)"
    quality = f"{one['cider']:.3f}", f"{one['fact_f1']:.4f}"
    return NAMES[family], one["setting"] + mark, number(one["bytes_mean"]), *quality

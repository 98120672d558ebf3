"""The figures of `aiflow bench quality` for people: tables, and a page of pictures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2

from aiflow.bench.judge import Answers
from aiflow.bench.tables import Goal, goal_table, markdown
from aiflow.rig.render_pool import view
from aiflow.street.grammar import parse

SHOWN: Final = 8
"""Pictures of each kind: captioned rightly, and wrongly."""
RIGHT: Final = "#1d6b39"
WRONG: Final = "#a1121f"

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CloudCaptions:
    """What the cloud said of the test scenes 0, 1, ... of a seed."""

    seed: int
    texts: Sequence[str]
    answers: Answers


def goals(figures: Figures) -> list[Goal]:
    """What the models were built to reach, and what they do."""
    tiers, encoder, ms = figures["tiers"], figures["encoder"], figures["encode_ms"]
    found = [
        Goal("entropy of a scene, bits", "≥", 45, figures["scene_entropy_bits"]),
        Goal("cloud, facts F1", "≥", 0.97, tiers["cloud"]["fact_f1"]),
        Goal("cloud, exact scenes", "≥", 0.80, tiers["cloud"]["exact_rate"]),
        Goal("edge on the base layer, facts F1", "≥", 0.95, tiers["edge"]["fact_f1"]),
        Goal("device, facts F1", "≥", 0.88, tiers["device"]["fact_f1"]),
        Goal("cloud, worst camera, facts F1", "≥", 0.92, tiers["cloud_hard"]["fact_f1"]),
        Goal("cloud, unseen pairs, facts F1", "≥", 0.93, tiers["cloud_heldout"]["fact_f1"]),
    ]
    if "float" in encoder:
        whole = encoder["float"]["fact_f1"]
        found += [
            Goal(f"{name}, facts F1 lost", "≤", 0.01, whole - encoder[name]["fact_f1"])
            for name in ("onnx_int8", "tflite_int8")
            if name in encoder
        ]
        found.append(
            Goal("int8 over float ONNX, one thread, times as fast", "≥", 2,
                 ms["float_onnx"] / ms["onnx_int8"])
        )  # fmt: skip
    return found


def table(figures: Figures) -> str:
    """Tables in Markdown: tiers by split, prefixes, and the goals."""
    rows = [("split", "tier", "facts F1", "95 %", "exact", "95 %", "CIDEr-D", "BLEU-4")]
    for split, tiers in figures["splits"].items():
        rows += [
            (split, tier, f"{one['fact_f1']:.4f}", _interval(one["fact_f1_interval"]),
             f"{one['exact_rate']:.3f}", _interval(one["exact_rate_interval"]),
             f"{one['cider']:.3f}", f"{one['bleu4']:.3f}")
            for tier, one in tiers.items()
        ]  # fmt: skip
    prefixes = figures["prefixes"]
    lengths = [
        ("tokens", *(str(one["tokens"]) for one in prefixes)),
        ("facts F1", *(f"{one['fact_f1']:.3f}" for one in prefixes)),
    ]
    return "\n\n".join([markdown(rows), markdown(lengths), goal_table(goals(figures))])


def draw(told: CloudCaptions, folder: Path) -> None:
    """Write quality-grid.png: pictures with what was said, and what was to be said."""
    import matplotlib as mpl  # noqa: PLC0415  only for those who want the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    right, wrong = _chosen(told)
    rows = -(-len(right) // 4) + -(-len(wrong) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(18, 4.6 * rows), layout="constrained")
    places = iter(axes.ravel())
    for indices in (right, wrong):
        for index in indices:
            _picture(next(places), told, index)
        for _ in range(-len(indices) % 4):
            next(places).set_axis_off()
    figure.savefig(folder / "quality-grid.png", dpi=60, bbox_inches="tight")
    plt.close(figure)


def _chosen(told: CloudCaptions) -> tuple[list[int], list[int]]:
    """The first scenes captioned rightly, and the first captioned wrongly."""
    right: list[int] = []
    wrong: list[int] = []
    for index, (text, truth) in enumerate(zip(told.texts, told.answers.truths, strict=True)):
        (right if parse(text) == truth else wrong).append(index)
    return right[:SHOWN], wrong[:SHOWN]


def _picture(axis: Any, told: CloudCaptions, index: int) -> None:
    said, true = parse(told.texts[index]), told.answers.truths[index]
    axis.imshow(cv2.cvtColor(view("test", told.seed, index).image, cv2.COLOR_BGR2RGB))
    axis.set_axis_off()
    lines = [_wrapped(told.texts[index])]
    if said != true:
        lines.append(_wrapped("but: " + told.answers.references[index][0]))
    axis.set_title("\n".join(lines), fontsize=8, loc="left", color=RIGHT if said == true else WRONG)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 62)


def _interval(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.3f}-{bounds[1]:.3f}"

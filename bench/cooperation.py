"""What the edge and the cloud are worth together: the cascade, its confidence, speculation.

    test scenes -> symbols -> edge, cloud without a draft, cloud with the edge's draft
                               |-> who is kept at the edge: by confidence, at random, by an oracle
                               `-> what the draft saves the cloud, and what it costs on the wire

No network here: what the policies are worth, not how long messages take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.judge import BATCH, Answers, Scores, interval, score
from aiflow.bench.tables import Goal, goal_table, markdown
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.codec import compress
from aiflow.common.encoder import Encoder
from aiflow.common.mqtt import publish_size
from aiflow.common.topics import Topics
from aiflow.common.wire import Context, Escalation, Kind, Packet, pack, pack_escalation
from aiflow.rig.render_pool import RenderPool
from aiflow.training.calibrate import expected_calibration_error

SCENES: Final = 1500
RANDOM_GATES: Final = 400
DEADLINE_MS: Final = 2000
CORRELATION_BYTES: Final = 8

Say = Callable[[str], None]
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What was said of N scenes."""

    edge: list[Draft]
    alone: list[Draft]
    """The cloud's own greedy captions, without a draft."""
    verified: list[Draft]
    """The cloud's captions from the edge's drafts."""


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Figures:
    """Measure the built-in bundle on test scenes (1,500 unless given)."""
    count = scenes or SCENES
    bundle = Bundle.open("street")
    encoder = Encoder.load(bundle)
    say(f"rendering {count} scenes")
    found, rows = [], []
    with RenderPool(seed) as renders:
        for view in renders.views("test", 0, count):
            rows.append(encoder.encode(view.image).symbols)
            found.append(view.scene)
    symbols = np.stack(rows)
    answers = Answers.of(found, "test", seed)
    told = listen(bundle, symbols, say)
    edge, cloud = scored(told.edge, answers), scored(told.alone, answers)
    confidence = np.array([draft.confidence for draft in told.edge])
    kept = confidence >= bundle.manifest.escalate_below
    figures: Figures = {
        "scenes": count,
        "threshold": bundle.manifest.escalate_below,
        "cloud_only": cloud.as_json(),
        "edge_only": edge.as_json(),
        "cascade": cascade(edge, cloud, kept, seed),
        "calibration": calibration(confidence, edge.exact > 0),
        "speculation": speculation(bundle, symbols, told),
    }
    say(table(figures))
    if plot is not None:
        draw(edge, cloud, confidence, figures, plot)
    return figures


def listen(bundle: Bundle, symbols: NDArray[np.uint8], say: Say) -> Told:
    """Caption all scenes by the edge, by the cloud alone, and by the cloud with drafts."""
    edge, cloud = Captioner(bundle, "edge"), Captioner(bundle, "cloud")
    told = Told([], [], [])
    for start in range(0, len(symbols), BATCH):
        batch = symbols[start : start + BATCH]
        drafts = edge.caption([Request(row) for row in batch])
        told.edge.extend(drafts)
        told.alone.extend(cloud.caption([Request(row) for row in batch]))
        told.verified.extend(
            cloud.caption(
                [Request(row, draft.tokens) for row, draft in zip(batch, drafts, strict=True)]
            )
        )
        if start // BATCH % 10 == 0:
            say(f"{len(told.edge)} of {len(symbols)} captioned")
    return told


def scored(drafts: Sequence[Draft], answers: Answers) -> Scores:
    """Score captions of all scenes."""
    return score([draft.text for draft in drafts], answers.truths, answers.references)


def cascade(edge: Scores, cloud: Scores, kept: NDArray[np.bool_], seed: int) -> dict[str, Any]:
    """The edge's captions where they are `kept` (N,), else the cloud's; and other gates' worth."""
    right, said, true = (
        np.where(kept, getattr(edge, name), getattr(cloud, name)).sum()
        for name in ("right", "predicted", "true")
    )
    return {
        "fact_f1": round(float(2 * right / max(said + true, 1)), 4),
        **gates(edge.cider, cloud.cider, kept, seed),
    }


def gates(
    edge: NDArray[np.float64], cloud: NDArray[np.float64], kept: NDArray[np.bool_], seed: int
) -> dict[str, Any]:
    """CIDEr of the edge's captions where they are `kept` (N,), else the cloud's; other gates' too.

    The random gate keeps as many, over and over; the oracle keeps as many, and knows what the
    cloud would better.
    """
    rng = np.random.default_rng(seed)
    mixed = np.where(kept, edge, cloud)
    shuffles = (rng.permutation(kept) for _ in range(RANDOM_GATES))
    random = [float(np.where(one, edge, cloud).mean()) for one in shuffles]
    oracle = np.zeros(len(kept), bool)
    oracle[np.argsort(cloud - edge, kind="stable")[: int(kept.sum())]] = True
    resampled = rng.integers(0, len(kept), (RANDOM_GATES, len(kept)))
    return {
        "cider": round(float(mixed.mean()), 4),
        "cider_interval": interval(mixed[resampled].mean(1)),
        "kept_at_edge": round(float(kept.mean()), 4),
        "random_gate_cider": round(float(np.mean(random)), 4),
        "random_gate_interval": interval(random),
        "oracle_gate_cider": round(float(np.where(oracle, edge, cloud).mean()), 4),
    }


def calibration(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    """How far the edge's confidence is from the share of captions whose facts are all right."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    return {
        "ece": round(expected_calibration_error(confidence, right), 4),
        "mean_confidence": round(float(confidence.mean()), 4),
        "exact_rate": round(float(right.mean()), 4),
        "bins": [
            {
                "confidence": round(float(confidence[bins == one].mean()), 3),
                "right": round(float(right[bins == one].mean()), 3),
                "captions": int((bins == one).sum()),
            }
            for one in range(10)
            if (bins == one).any()
        ],
    }


def speculation(bundle: Bundle, symbols: NDArray[np.uint8], told: Told) -> dict[str, Any]:
    """What a draft saves the cloud, and what it costs on the edge's uplink.

    A question is one PUBLISH with everything in it, and the answer is the finished caption.
    """
    saved = 1 - sum(d.passes for d in told.verified) / sum(d.passes for d in told.alone)
    questions = [
        question_bytes(bundle, row, draft.tokens)
        for row, draft in zip(symbols, told.edge, strict=True)
    ]
    accepted = sum(draft.accepted for draft in told.verified)
    identical = np.mean(
        [a.tokens == b.tokens for a, b in zip(told.alone, told.verified, strict=True)]
    )
    return {
        "captions": len(told.alone),
        "identical": round(float(identical), 6),
        "cloud_passes_saved": round(saved, 4),
        "accepted_share": round(accepted / sum(len(draft.tokens) for draft in told.edge), 4),
        "question_bytes_mean": round(float(np.mean(questions)), 2),
        "uplink_bytes_per_accepted_token": round(sum(questions) / max(accepted, 1), 3),
    }


def question_bytes(bundle: Bundle, row: NDArray[np.uint8], draft: tuple[int, ...]) -> int:
    """Of the edge's PUBLISH to the cloud, MQTT included, as `aiflow.edge.ask_cloud` sends it."""
    context = Context("porch", "door", 1_760_000_000_000)
    layers = len(bundle.layers)
    body = compress(row, bundle.tables, layers=layers)
    key = pack(Packet(Kind.KEY, bundle.tag, 300, 150_000, body, 0, layers), context)
    request = pack_escalation(
        Escalation(context.device, context.camera, context.epoch_ms, DEADLINE_MS, (key,), draft)
    )
    topics = Topics()
    reply = len(topics.edge_reply("edge1").encode())
    # Properties: response topic and correlation data, each with an identifier and a length.
    properties = 3 + reply + 3 + CORRELATION_BYTES
    topic = len(topics.cloud_request("default").encode())
    return publish_size(topic, len(request), qos=1, expiry=True) + properties


def goals(figures: Figures) -> list[Goal]:
    """What the cooperation was built to reach, and what it does."""
    both, spoken = figures["cascade"], figures["speculation"]
    return [
        Goal("CIDEr of the cascade, share of the cloud's", "≥", 0.98,
             both["cider"] / figures["cloud_only"]["cider"]),
        Goal("captions kept at the edge", "≥", 0.70, both["kept_at_edge"]),
        Goal("CIDEr beyond the random gate's interval", "≥", 0,
             both["cider"] - both["random_gate_interval"][1]),
        Goal("expected calibration error", "≤", 0.05, figures["calibration"]["ece"]),
        Goal("captions identical to the cloud's own", "≥", 1, spoken["identical"]),
        Goal("the cloud's passes saved", "≥", 0.60, spoken["cloud_passes_saved"]),
        Goal("uplink bytes per accepted token", "≤", 16,
             spoken["uplink_bytes_per_accepted_token"]),
    ]  # fmt: skip


def table(figures: Figures) -> str:
    """Tables in Markdown: who captions, and the goals."""
    both = figures["cascade"]
    rows = [
        ("who captions", "CIDEr-D", "95 %", "facts F1"),
        *(
            (name, f"{one['cider']:.3f}", _between(one["cider_interval"]), f"{one['fact_f1']:.4f}")
            for name, one in (
                ("edge alone", figures["edge_only"]),
                (f"cascade, {both['kept_at_edge']:.0%} kept at the edge", both),
                ("cloud alone", figures["cloud_only"]),
            )
        ),
        ("random gate, as many kept", f"{both['random_gate_cider']:.3f}",
         _between(both["random_gate_interval"]), ""),
        ("oracle gate, as many kept", f"{both['oracle_gate_cider']:.3f}", "", ""),
    ]  # fmt: skip
    return f"{markdown(rows)}\n\n{goal_table(goals(figures))}"


def draw(
    edge: Scores, cloud: Scores, confidence: NDArray[np.float64], figures: Figures, folder: Path
) -> None:
    """Write cooperation.png: quality over the share kept at the edge, and the calibration."""
    import matplotlib as mpl  # noqa: PLC0415  only for those who want the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    figure, (gates, truth) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    shares = np.linspace(0, 1, len(confidence) + 1)
    for name, order, colour in (
        ("oracle", np.argsort(cloud.cider - edge.cider, kind="stable"), "#7a7a7a"),
        ("confidence", np.argsort(-confidence, kind="stable"), "#c8102e"),
    ):
        gained = np.concatenate([[0], np.cumsum((edge.cider - cloud.cider)[order])])
        gates.plot(100 * shares, cloud.cider.mean() + gained / len(order), color=colour, label=name)
    ends = [cloud.cider.mean(), edge.cider.mean()]
    gates.plot([0, 100], ends, color="#1f77b4", linestyle="--", label="random")
    both = figures["cascade"]
    gates.plot(100 * both["kept_at_edge"], both["cider"], "o", color="#c8102e")
    gates.set_xlabel("captions kept at the edge, %")
    gates.set_ylabel("CIDEr-D")
    gates.set_title("What the gate is worth", loc="left")
    gates.legend(frameon=False)
    bins = figures["calibration"]["bins"]
    truth.plot([0, 1], [0, 1], color="black", linewidth=0.8, alpha=0.5)
    truth.scatter([one["confidence"] for one in bins], [one["right"] for one in bins],
                  s=[10 + one["captions"] / 4 for one in bins], color="#c8102e")  # fmt: skip
    truth.set_xlabel("the edge's confidence")
    truth.set_ylabel("captions with all facts right")
    truth.set_title(f"What confidence means (ECE {figures['calibration']['ece']:.3f})", loc="left")
    for axis in (gates, truth):
        axis.grid(visible=True, alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "cooperation.png", dpi=100)
    plt.close(figure)


def _between(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.3f}-{bounds[1]:.3f}"

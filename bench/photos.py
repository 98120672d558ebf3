"""Captions of real photos by the bundle `photo`: quality, bytes, confidence, and what int8 costs.

Words are those of the Penn Treebank tokenizer that published figures use, where there is Java;
else the bundle's own. CIDEr-D, BLEU and ROUGE-L are pycocoevalcap's, with all references.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from aiflow.bench.baselines.images import QUALITIES, decode, encode
from aiflow.bench.cooperation import calibration, gates
from aiflow.bench.quality import TIERS, encode_ms, encoders
from aiflow.bench.tables import Goal, goal_table, markdown
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.codec import compress
from aiflow.common.encoder import Encoder
from aiflow.common.errors import ConfigError
from aiflow.common.wire import Context, Kind, Packet, pack
from aiflow.training import photo_data
from aiflow.training.cider import CiderD
from aiflow.training.photo_calibrate import named, objects_of
from aiflow.training.photo_calibrate import say as captions_of

SPLIT: Final[photo_data.Split] = "test"
CODED: Final = 150
"""Photos that go through the image codecs."""
SIDES: Final = (128, 96, 64, 48, 32)
EQUAL: Final = 0.005
"""CIDEr-D by which a picture's captions may be worse and still count as equal."""
CONTEXT: Final = Context("porch", "door", 1_760_000_000_000)

Say = Callable[[str], None]
References = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Captions of N photos and how good they are; `cider` (N,)."""

    drafts: list[Draft]
    cider: NDArray[np.float64]
    right: NDArray[np.bool_]
    """Every object that is named stands in a reference."""
    figures: dict[str, Any]


def run(
    *,
    seed: int,
    plot: Path | None,
    say: Say,
    data: Path | None,
    scenes: int | None = None,
) -> Mapping[str, object]:
    """Measure on the test photos of `data` (all, or the first `scenes`). Raises ConfigError."""
    del plot
    if data is None:
        raise ConfigError("benchmark photos needs photos with captions: --data DIR")
    photos = photo_data.load(data)[SPLIT][:scenes]
    references = [list(photo.captions) for photo in photos]
    bundle = Bundle.open("photo")
    images = [photo_data.read(photo, bundle.input_size[0]) for photo in photos]
    models = encoders(bundle)
    symbols = {
        name: [Encoder(model, bundle.input_size, bundle.levels).encode(i).symbols for i in images]
        for name, model in models.items()
    }
    own = symbols["onnx_int8"]
    captioners = {tier: Captioner(bundle, decoder) for tier, decoder in TIERS.items()}
    tiers = {
        tier: scored(captioners[tier], _given(bundle, TIERS[tier], own), references)
        for tier in TIERS
    }
    for tier, one in tiers.items():
        say(f"{tier:7} {one.figures}")
    edge, cloud = tiers["edge"], tiers["cloud"]
    confidence = np.array([draft.confidence for draft in edge.drafts])
    kept = confidence >= bundle.manifest.escalate_below
    figures: dict[str, Any] = {
        "photos": len(photos),
        "split": SPLIT,
        "tokenizer": "PTB (Stanford CoreNLP)" if shutil.which("java") else "lower-case words",
        "bundle": bundle.id[:12],
        "tiers": {tier: one.figures for tier, one in tiers.items()},
        "prefixes": {
            str(layer): scored(
                captioners["cloud"], [rows[:layer] for rows in own], references
            ).figures["cider"]
            for layer in bundle.layers
        },
        "key": key_bytes(bundle, own),
        "cascade": {
            "threshold": bundle.manifest.escalate_below,
            **gates(edge.cider, cloud.cider, kept, seed),
        },
        "calibration": calibration(confidence, edge.right),
        "speculation": speculation(captioners["cloud"], own, edge.drafts, cloud.drafts),
        "encoder": {
            name: {
                "cider": scored(captioners["cloud"], rows, references).figures["cider"],
                "same_symbols": round(float((np.stack(rows) == np.stack(own)).mean()), 4),
            }
            for name, rows in symbols.items()
        },
        "encode_ms": encode_ms(models, images[0]),
        "bundle_bytes": sum(p.stat().st_size for p in bundle.path.iterdir() if p.is_file()),
    }
    figures["pictures"] = pictures(bundle, captioners["cloud"], images, own, references, say)
    figures["ratio"] = ratios(figures)
    say(table(figures))
    return figures


def _given(
    bundle: Bundle, decoder: str, symbols: Sequence[NDArray[np.uint8]]
) -> list[NDArray[np.uint8]]:
    layer = bundle.layers[bundle.manifest.decoders[decoder].input_layers - 1]
    return [rows[:layer] for rows in symbols]


def scored(
    captioner: Captioner, symbols: Sequence[NDArray[np.uint8]], references: References
) -> Scored:
    """Caption and score."""
    drafts = captions_of(captioner, symbols, "photos")
    gts, res = tokenized(references), tokenized([[draft.text] for draft in drafts])
    _, cider = Cider().compute_score(gts, res)
    bleu, _ = Bleu(4).compute_score(gts, res, verbose=0)
    rouge, _ = Rouge().compute_score(gts, res)
    things = [named(photo_data.words(draft.text)) for draft in drafts]
    true = [objects_of([photo_data.words(c) for c in photo]) for photo in references]
    said = sum(map(len, things))
    found = sum(len(a & b) for a, b in zip(things, true, strict=True))
    figures = {
        "cider": round(float(np.mean(cider)), 4),
        **{f"bleu{n}": round(float(value), 4) for n, value in enumerate(bleu, start=1)},
        "rouge_l": round(float(rouge), 4),
        "object_precision": round(found / max(said, 1), 4),
        "objects_named": round(said / len(drafts), 2),
    }
    right = np.array([a <= b for a, b in zip(things, true, strict=True)])
    return Scored(drafts, np.asarray(cider, float), right, figures)


def tokenized(captions: References) -> dict[int, list[str]]:
    """Captions as pycocoevalcap wants them, by photo."""
    if shutil.which("java"):
        named_ = {i: [{"caption": c} for c in photo] for i, photo in enumerate(captions)}
        words: dict[int, list[str]] = PTBTokenizer().tokenize(named_)
        return words
    return {i: [" ".join(photo_data.words(c)) for c in p] for i, p in enumerate(captions)}


def key_bytes(bundle: Bundle, symbols: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Of key payloads with all layers, and with the first alone."""
    found: dict[str, Any] = {}
    for name, layers in (("base", 1), ("", len(bundle.layers))):
        bodies = [compress(rows, bundle.tables, layers=layers) for rows in symbols]
        sizes = [
            len(pack(Packet(Kind.KEY, bundle.tag, 300, 150_000, body, 0, layers), CONTEXT))
            for body in bodies
        ]
        prefix = f"{name}_" if name else ""
        found[f"{prefix}payload_bytes_mean"] = round(float(np.mean(sizes)), 2)
        found[f"{prefix}body_bits_mean"] = round(8 * float(np.mean([len(b) for b in bodies])), 1)
    return found


def speculation(
    cloud: Captioner,
    symbols: Sequence[NDArray[np.uint8]],
    edge: Sequence[Draft],
    alone: Sequence[Draft],
) -> dict[str, Any]:
    """Whether the cloud's captions stay its own with the edge's drafts, and what these save."""
    verified: list[Draft] = []
    for start in range(0, len(symbols), 32):
        rows = zip(symbols[start : start + 32], edge[start : start + 32], strict=True)
        verified += cloud.caption([Request(row, draft.tokens) for row, draft in rows])
    same = [a.tokens == b.tokens for a, b in zip(verified, alone, strict=True)]
    saved = 1 - sum(d.passes for d in verified) / sum(d.passes for d in alone)
    return {"identical": round(float(np.mean(same)), 4), "cloud_passes_saved": round(saved, 4)}


def pictures(
    bundle: Bundle,
    cloud: Captioner,
    images: Sequence[NDArray[np.uint8]],
    own: Sequence[NDArray[np.uint8]],
    references: References,
    say: Say,
) -> list[dict[str, Any]]:
    """Pictures of every codec, size and quality through the same captioner: bytes and CIDEr-D."""
    encoder = Encoder.load(bundle)
    some = images[:CODED]
    # Many settings, each against ours: by the bundle's own words, which need no Java for each.
    judge = CiderD([[photo_data.words(c) for c in photo] for photo in references[:CODED]])

    def cider(symbols: Sequence[NDArray[np.uint8]]) -> float:
        drafts = captions_of(cloud, symbols, "pictures")
        scores = [judge.score(i, photo_data.words(draft.text)) for i, draft in enumerate(drafts)]
        return round(float(np.mean(scores)), 4)

    whole = cider(own[:CODED])
    rows: list[dict[str, Any]] = [{"codec": "ours", "cider": whole}]
    for codec, qualities in QUALITIES.items():
        for side in SIDES:
            for quality in qualities:
                data = [encode(image, codec, (side, side), quality) for image in some]
                seen = [encoder.encode(_enlarged(decode(one), bundle)).symbols for one in data]
                row: dict[str, Any] = {
                    "codec": codec,
                    "side": side,
                    "quality": quality,
                    "bytes": round(float(np.mean([len(one) for one in data])), 1),
                    "cider": cider(seen),
                }
                say(f"{codec} {side} px, quality {quality}: {row['bytes']} B, {row['cider']}")
                rows.append(row)
                if row["cider"] >= whole - EQUAL:
                    break  # better qualities are larger
    return rows


def _enlarged(image: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.uint8]:
    enlarged = cv2.resize(image, bundle.input_size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(enlarged, np.uint8)


def ratios(figures: Mapping[str, Any]) -> dict[str, float | None]:
    """How many times as many bytes the best picture needs for captions as good as ours."""
    ours, *others = figures["pictures"]
    equal = [row["bytes"] for row in others if row["cider"] >= ours["cider"] - EQUAL]
    payload = figures["key"]["payload_bytes_mean"]
    return {"best_image": round(min(equal) / payload, 1) if equal else None}


def table(figures: Mapping[str, Any]) -> str:
    """Tiers, and the goals of the bundle."""
    tiers, key = figures["tiers"], figures["key"]
    rows = [("tier", "CIDEr-D", "BLEU-1", "BLEU-4", "ROUGE-L", "objects right")]
    rows += [
        (tier, *(f"{one[n]:.3f}" for n in ("cider", "bleu1", "bleu4", "rouge_l",
                                           "object_precision")))
        for tier, one in tiers.items()
    ]  # fmt: skip
    both, base = figures["cascade"], figures["prefixes"]
    first, *_, whole = base.values()
    goals = [
        Goal("cloud: CIDEr-D", "\u2265", 0.60, tiers["cloud"]["cider"]),
        Goal("cloud: BLEU-4", "\u2265", 0.23, tiers["cloud"]["bleu4"]),
        Goal("edge: CIDEr-D", "\u2265", 0.57, tiers["edge"]["cider"]),
        Goal("device: CIDEr-D", "\u2265", 0.52, tiers["device"]["cider"]),
        Goal("key payload, bytes", "\u2264", 40, key["payload_bytes_mean"]),
        Goal("its base layer, bytes", "\u2264", 24, key["base_payload_bytes_mean"]),
        Goal("CIDEr-D that the base layer lacks", "\u2264", 0.04, whole - first),
        Goal("smaller than the best picture", "\u2265", 25, figures["ratio"]["best_image"] or 0),
        Goal("cascade's CIDEr-D below the cloud's", "\u2264", 0.01,
             tiers["cloud"]["cider"] - both["cider"]),
        Goal("kept at the edge", "\u2265", 0.6, both["kept_at_edge"]),
        Goal("CIDEr-D beyond the random gate's interval", "\u2265", 0,
             both["cider"] - both["random_gate_interval"][1]),
        Goal("object words right, cloud", "\u2265", 0.80, tiers["cloud"]["object_precision"]),
        Goal("expected calibration error", "\u2264", 0.05, figures["calibration"]["ece"]),
        Goal("CIDEr-D lost by int8", "\u2264", 0.01,
             figures["encoder"]["float"]["cider"] - figures["encoder"]["onnx_int8"]["cider"]),
        Goal("int8 over float, one thread", "\u2265", 2,
             figures["encode_ms"]["float_onnx"] / figures["encode_ms"]["onnx_int8"]),
        Goal("speculation identical", "\u2265", 1, figures["speculation"]["identical"]),
        Goal("size of the bundle, MB", "\u2264", 40, figures["bundle_bytes"] / 1e6),
    ]  # fmt: skip
    return f"{markdown(rows)}\n\n{goal_table(goals)}"

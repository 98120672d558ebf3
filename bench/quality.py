"""How well the bundle captions held-out scenes: by tier, by prefix of tokens, by split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.bench.captions import REFERENCES, Scores, score
from aiflow.bench.scenes import View, views
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Request
from aiflow.common.runtime import LiteRtModel, Model, OnnxModel
from aiflow.common.street import splits
from aiflow.common.street.grammar import references
from aiflow.common.street.world import street
from aiflow.device.encoder import Encoder

BATCH = 32
SPLITS = ("test", "hard", "heldout")
TIERS = (("device", "nano"), ("edge", "edge"), ("cloud", "cloud"))
TIMED = 200
"""Runs of each encoder whose median is its time."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Views of one split: encoder-sized images uint8 (N, H, W, 3), scenes, references."""

    images: NDArray[np.uint8]
    views: Sequence[View]
    references: Sequence[Sequence[str]]

    @property
    def truths(self) -> list[frozenset[tuple[str, ...]]]:
        return [view.scene.facts() for view in self.views]


def run(
    *, seed: int, plot: Path | None, say: Say, scenes: int | None = None
) -> Mapping[str, object]:
    """Measure the built-in bundle on `scenes` scenes of each split (2,000 unless given)."""
    count = scenes or 2000
    bundle = Bundle.open("street")
    samples = {split: draw(bundle, split, seed, count, say) for split in SPLITS}
    models = encoders(bundle)
    main = Encoder(models["onnx_int8"], bundle.input_size, bundle.levels)
    symbols = {split: encode(main, sample.images) for split, sample in samples.items()}
    test = samples["test"]
    tiers = {name: measure(bundle, tier, symbols["test"], test).as_json() for name, tier in TIERS}
    for split in ("hard", "heldout"):
        scores = measure(bundle, "cloud", symbols[split], samples[split])
        tiers[f"cloud_{split}"] = scores.as_json()
    for name, figures in tiers.items():
        say(f"{name:14} F1 {figures['fact_f1']}  exact {figures['exact_rate']}")
    by_encoder = {name: {"fact_f1": _f1_of(bundle, model, test)} for name, model in models.items()}
    facts = bundle.manifest
    if plot is not None:
        draw_grid(bundle, test, symbols["test"], plot)
    return {
        "scenes": count,
        "scene_entropy_bits": round(street().entropy_bits(), 3),
        "tiers": tiers,
        "prefixes": by_prefix(bundle, symbols["test"], test, say),
        "encoder": {
            **by_encoder,
            "macs": facts.encoder.macs,
            "parameters": facts.encoder.parameters,
            "int8_bytes": bundle.file("encoder_onnx").stat().st_size,
            "same_symbols": agreement(bundle, models, test.images),
        },
        "decoders": {
            tier: {
                "parameters": decoder.parameters,
                "bytes": bundle.file(f"decoder_{tier}").stat().st_size,
                "decode_ms": decode_ms(Captioner(bundle, tier), symbols["test"][:50]),
            }
            for tier, decoder in facts.decoders.items()
        },
        "encode_ms": {name: encode_ms(model, test.images[0]) for name, model in models.items()},
    }


def draw(bundle: Bundle, split: str, seed: int, count: int, say: Say) -> Sample:
    """Render a split, and write five references for each scene."""
    say(f"rendering {count} scenes of the split {split}")
    seen, images, refs = [], [], []
    for index, view in enumerate(views(split, seed, count)):
        images.append(cv2.resize(view.image, bundle.input_size, interpolation=cv2.INTER_AREA))
        rng = splits.rng(split, seed, (1 << 40) + index)
        refs.append(references(view.scene, rng, REFERENCES))
        seen.append(View(view.scene, view.image if index < 24 else view.image[:0]))
    return Sample(np.stack(images), seen, refs)


def encoders(bundle: Bundle) -> dict[str, Model]:
    """All builds of the encoder that the bundle has."""
    found: dict[str, Model] = {}
    if "encoder_float" in bundle.manifest.roles:
        found["float"] = OnnxModel(bundle.file("encoder_float"))
    found["onnx_int8"] = OnnxModel(bundle.file("encoder_onnx"))
    if "encoder_tflite" in bundle.manifest.roles:
        found["tflite_int8"] = LiteRtModel(bundle.file("encoder_tflite"))
    return found


def encode(encoder: Encoder, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Symbols uint8 (N, K, D)."""
    return np.stack([encoder.encode(image).symbols for image in images])


def caption(captioner: Captioner, symbols: NDArray[np.uint8], tokens: int) -> list[Draft]:
    """Caption all frames from their first `tokens` task tokens."""
    drafts: list[Draft] = []
    for start in range(0, len(symbols), BATCH):
        rows = symbols[start : start + BATCH, :tokens]
        drafts += captioner.caption([Request(row) for row in rows])
    return drafts


def measure(
    bundle: Bundle, tier: str, symbols: NDArray[np.uint8], sample: Sample, tokens: int | None = None
) -> Scores:
    """Score a tier's captions from the layers that it is given, or from `tokens` tokens."""
    given = tokens or bundle.layers[bundle.manifest.decoders[tier].input_layers - 1]
    drafts = caption(Captioner(bundle, tier), symbols, given)
    return score([draft.text for draft in drafts], sample.truths, sample.references)


def by_prefix(
    bundle: Bundle, symbols: NDArray[np.uint8], sample: Sample, say: Say
) -> list[dict[str, object]]:
    """Quality of the cloud's captions for every number of tokens."""
    rows: list[dict[str, object]] = []
    for tokens in range(1, bundle.tokens + 1):
        scores = measure(bundle, "cloud", symbols, sample, tokens)
        say(f"{tokens:2} tokens   F1 {scores.fact_f1:.4f}")
        cider = round(float(scores.cider.mean()), 4)
        rows.append({"tokens": tokens, "fact_f1": round(scores.fact_f1, 4), "cider": cider})
    return rows


def agreement(
    bundle: Bundle, models: Mapping[str, Model], images: NDArray[np.uint8]
) -> dict[str, float]:
    """Share of positions at which each int8 encoder gives the float encoder's symbol."""
    if "float" not in models:
        return {}
    symbols = {
        name: encode(Encoder(model, bundle.input_size, bundle.levels), images[:500])
        for name, model in models.items()
    }
    return {
        name: round(float((rows == symbols["float"]).mean()), 4)
        for name, rows in symbols.items()
        if name != "float"
    }


def encode_ms(model: Model, image: NDArray[np.uint8]) -> float:
    """Median milliseconds of one picture on one thread."""
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        model.run(image[None])
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1000, 3)


def decode_ms(captioner: Captioner, symbols: NDArray[np.uint8]) -> float:
    """Median milliseconds of one caption, alone in its batch, on one thread."""
    times = []
    for row in symbols:
        began = time.perf_counter()
        captioner.caption([Request(row)])
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1000, 2)


def _f1_of(bundle: Bundle, model: Model, sample: Sample) -> float:
    symbols = encode(Encoder(model, bundle.input_size, bundle.levels), sample.images)
    return round(measure(bundle, "cloud", symbols, sample).fact_f1, 4)


def draw_grid(bundle: Bundle, sample: Sample, symbols: NDArray[np.uint8], folder: Path) -> None:
    """A page of pictures with truth and captions, for people to look at."""
    import matplotlib as mpl  # noqa: PLC0415  (only for those who want the plot)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    drafts = caption(Captioner(bundle, "cloud"), symbols[:12], bundle.tokens)
    figure, axes = plt.subplots(3, 4, figsize=(20, 15))
    for axis, view, draft, refs in zip(
        axes.ravel(), sample.views, drafts, sample.references, strict=False
    ):
        axis.imshow(cv2.cvtColor(view.image, cv2.COLOR_BGR2RGB))
        axis.set_axis_off()
        axis.set_title(
            f"said: {draft.text}\nreference: {refs[0]}", fontsize=7, wrap=True, loc="left"
        )
    figure.savefig(folder / "quality-grid.png", dpi=80)
    plt.close(figure)

"""How well the bundle captions held-out scenes: by tier, by prefix of tokens, by split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.bench.judge import Answers, Judge
from aiflow.bench.painters import Painters
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.runtime import LiteRtModel, Model, OnnxModel
from aiflow.common.street.world import street
from aiflow.device.encoder import Encoder

SPLITS = ("test", "hard", "heldout")
TIERS = (("device", "nano"), ("edge", "edge"), ("cloud", "cloud"))
TIMED = 200
"""Runs of each encoder whose median is its time."""
SHOWN = 12
"""Pictures on the page for people."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scenes of one split.

    images uint8 (N, H, W, 3) have the encoder's size, pictures uint8 (480, 640, 3) are the
    first few as the camera saw them.
    """

    images: NDArray[np.uint8]
    pictures: list[NDArray[np.uint8]]
    answers: Answers


def run(
    *, seed: int, plot: Path | None, say: Say, scenes: int | None = None
) -> Mapping[str, object]:
    """Measure the built-in bundle on `scenes` scenes of each split (2,000 unless given)."""
    count = scenes or 2000
    bundle = Bundle.open("street")
    with Painters(seed) as painters:
        samples = {split: draw(bundle, painters, split, seed, count, say) for split in SPLITS}
    models = encoders(bundle)
    main = Encoder(models["onnx_int8"], bundle.input_size, bundle.levels)
    symbols = {split: encode(main, sample.images) for split, sample in samples.items()}
    judges = {tier: judge(bundle, tier) for _, tier in TIERS}
    test = samples["test"]
    by_encoder = {
        name: symbols["test"]
        if name == "onnx_int8"
        else encode(Encoder(model, bundle.input_size, bundle.levels), test.images)
        for name, model in models.items()
    }
    tiers = {
        name: judges[tier].score(symbols["test"], test.answers).as_json() for name, tier in TIERS
    }
    for split in ("hard", "heldout"):
        scores = judges["cloud"].score(symbols[split], samples[split].answers)
        tiers[f"cloud_{split}"] = scores.as_json()
    for name, figures in tiers.items():
        say(f"{name:14} F1 {figures['fact_f1']}  exact {figures['exact_rate']}")
    facts = bundle.manifest
    if plot is not None:
        draw_grid(test, judges["cloud"].texts(symbols["test"][:SHOWN]), plot)
    return {
        "scenes": count,
        "scene_entropy_bits": round(street().entropy_bits(), 3),
        "tiers": tiers,
        "prefixes": by_prefix(bundle, symbols["test"], test, say),
        "encoder": {
            **{
                name: {"fact_f1": round(judges["cloud"].score(rows, test.answers).fact_f1, 4)}
                for name, rows in by_encoder.items()
            },
            "macs": facts.encoder.macs,
            "parameters": facts.encoder.parameters,
            "int8_bytes": bundle.file("encoder_onnx").stat().st_size,
            "same_symbols": agreement(by_encoder),
        },
        "decoders": {
            tier: {
                "parameters": decoder.parameters,
                "bytes": bundle.file(f"decoder_{tier}").stat().st_size,
                "decode_ms": decode_ms(Captioner(bundle, tier), symbols["test"][:50]),
            }
            for tier, decoder in facts.decoders.items()
        },
        "encode_ms": {
            "float_onnx" if name == "float" else name: encode_ms(model, test.images[0])
            for name, model in models.items()
        },
    }


def draw(bundle: Bundle, painters: Painters, split: str, seed: int, count: int, say: Say) -> Sample:
    """Render a split, and write the references of each scene."""
    say(f"rendering {count} scenes of the split {split}")
    scenes, images = [], []
    pictures: list[NDArray[np.uint8]] = []
    for view in painters.views(split, 0, count):
        images.append(cv2.resize(view.image, bundle.input_size, interpolation=cv2.INTER_AREA))
        scenes.append(view.scene)
        if len(pictures) < SHOWN:
            pictures.append(view.image)
    return Sample(np.stack(images), pictures, Answers.of(scenes, split, seed))


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


def judge(bundle: Bundle, tier: str) -> Judge:
    """A tier's decoder, shown the layers that it is given."""
    given = bundle.layers[bundle.manifest.decoders[tier].input_layers - 1]
    return Judge(Captioner(bundle, tier), given)


def by_prefix(
    bundle: Bundle, symbols: NDArray[np.uint8], sample: Sample, say: Say
) -> list[dict[str, object]]:
    """Quality of the cloud's captions for every number of tokens."""
    cloud = Captioner(bundle, "cloud")
    rows: list[dict[str, object]] = []
    for tokens in range(1, bundle.tokens + 1):
        scores = Judge(cloud, tokens).score(symbols, sample.answers)
        say(f"{tokens:2} tokens   F1 {scores.fact_f1:.4f}")
        cider = round(float(scores.cider.mean()), 4)
        rows.append({"tokens": tokens, "fact_f1": round(scores.fact_f1, 4), "cider": cider})
    return rows


def agreement(by_encoder: Mapping[str, NDArray[np.uint8]]) -> dict[str, float]:
    """Share of positions at which each int8 encoder gives the float encoder's symbol."""
    if "float" not in by_encoder:
        return {}
    return {
        name: round(float((rows == by_encoder["float"]).mean()), 4)
        for name, rows in by_encoder.items()
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


def draw_grid(sample: Sample, texts: list[str], folder: Path) -> None:
    """A page of pictures with truth and captions, for people to look at."""
    import matplotlib as mpl  # noqa: PLC0415  (only for those who want the plot)

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(3, 4, figsize=(20, 15))
    for axis, picture, text, references in zip(
        axes.ravel(), sample.pictures, texts, sample.answers.references, strict=False
    ):
        axis.imshow(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        axis.set_axis_off()
        axis.set_title(
            f"said: {text}\nreference: {references[0]}", fontsize=7, wrap=True, loc="left"
        )
    figure.savefig(folder / "quality-grid.png", dpi=80)
    plt.close(figure)

"""How well the bundle captions held-out scenes: by tier, by prefix of tokens, by split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.bench.judge import Answers, Judge
from aiflow.bench.quality_page import CloudCaptions, draw, table
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request
from aiflow.common.encoder import Encoder
from aiflow.common.runtime import LiteRtModel, Model, OnnxModel
from aiflow.rig.render_pool import RenderPool
from aiflow.street.world import street

SPLITS = ("test", "hard", "heldout")
TIERS = {"device": "nano", "edge": "edge", "cloud": "cloud"}
TIMED = 200
"""Runs of each encoder whose median is its time."""

Say = Callable[[str], None]
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Scenes of one split; images uint8 (N, H, W, 3) have the encoder's size."""

    images: NDArray[np.uint8]
    answers: Answers


def run(*, seed: int, plot: Path | None, say: Say, scenes: int | None = None) -> Figures:
    """Measure the built-in bundle on `scenes` scenes of each split (2,000 unless given)."""
    count = scenes or 2000
    bundle = Bundle.open("street")
    with RenderPool(seed) as renders:
        samples = {split: paint(bundle, renders, split, seed, count, say) for split in SPLITS}
    models = encoders(bundle)
    main = Encoder(models["onnx_int8"], bundle.input_size, bundle.levels)
    symbols = {split: encode(main, sample.images) for split, sample in samples.items()}
    judges = {tier: judge(bundle, decoder) for tier, decoder in TIERS.items()}
    splits = {
        split: {
            tier: one.score(symbols[split], samples[split].answers).as_json()
            for tier, one in judges.items()
        }
        for split in SPLITS
    }
    test = samples["test"]
    figures: Figures = {
        "scenes": count,
        "scene_entropy_bits": round(street().entropy_bits(), 3),
        "tiers": {
            **splits["test"],
            "cloud_hard": splits["hard"]["cloud"],
            "cloud_heldout": splits["heldout"]["cloud"],
        },
        "splits": splits,
        "prefixes": by_prefix(bundle, symbols["test"], test, say),
        "encoder": of_encoders(bundle, models, judges["cloud"], symbols["test"], test),
        "decoders": of_decoders(bundle, symbols["test"][:50]),
        "encode_ms": encode_ms(models, test.images[0]),
    }
    say(table(figures))
    if plot is not None:
        texts = judges["cloud"].texts(symbols["test"])
        draw(CloudCaptions(seed, texts, test.answers), plot)
    return figures


def paint(
    bundle: Bundle, renders: RenderPool, split: str, seed: int, count: int, say: Say
) -> Sample:
    """Render a split, and write the references of each scene."""
    say(f"rendering {count} scenes of the split {split}")
    scenes, images = [], []
    for view in renders.views(split, 0, count):
        images.append(cv2.resize(view.image, bundle.input_size, interpolation=cv2.INTER_AREA))
        scenes.append(view.scene)
    return Sample(np.stack(images), Answers.of(scenes, split, seed))


def encoders(bundle: Bundle) -> dict[str, Model]:
    """All builds of the encoder that the bundle has, on one thread each."""
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


def judge(bundle: Bundle, decoder: str) -> Judge:
    """A decoder, shown the layers that its tier is given."""
    given = bundle.layers[bundle.manifest.decoders[decoder].input_layers - 1]
    return Judge(Captioner(bundle, decoder), given)


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


def of_encoders(
    bundle: Bundle,
    models: Mapping[str, Model],
    cloud: Judge,
    symbols: NDArray[np.uint8],
    sample: Sample,
) -> dict[str, object]:
    """What the cloud makes of each build's symbols, and how often they are the float build's.

    `symbols` are those of the int8 ONNX build.
    """
    rows = {
        name: symbols
        if name == "onnx_int8"
        else encode(Encoder(model, bundle.input_size, bundle.levels), sample.images)
        for name, model in models.items()
    }
    scored = {
        name: {"fact_f1": round(cloud.score(found, sample.answers).fact_f1, 4)}
        for name, found in rows.items()
    }
    facts = bundle.manifest.encoder
    return {
        **scored,
        "macs": facts.macs,
        "parameters": facts.parameters,
        "int8_bytes": bundle.file("encoder_onnx").stat().st_size,
        "same_symbols": {
            name: round(float((found == rows["float"]).mean()), 4)
            for name, found in rows.items()
            if name != "float" and "float" in rows
        },
    }


def of_decoders(bundle: Bundle, symbols: NDArray[np.uint8]) -> dict[str, object]:
    """Sizes, and the time of one caption alone in its batch."""
    return {
        name: {
            "parameters": decoder.parameters,
            "bytes": bundle.file(f"decoder_{name}").stat().st_size,
            "decode_ms": decode_ms(Captioner(bundle, name), symbols),
        }
        for name, decoder in bundle.manifest.decoders.items()
    }


def encode_ms(models: Mapping[str, Model], image: NDArray[np.uint8]) -> dict[str, float]:
    """Median milliseconds of one picture on one thread.

    The builds take turns, so that whatever else the machine does meets all of them.
    """
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TIMED):
        for name, model in models.items():
            began = time.perf_counter()
            model.run(image[None])
            times[name].append(time.perf_counter() - began)
    return {
        "float_onnx" if name == "float" else name: round(float(np.median(taken)) * 1000, 3)
        for name, taken in times.items()
    }


def decode_ms(captioner: Captioner, symbols: NDArray[np.uint8]) -> float:
    """Median milliseconds of one caption, alone in its batch, on one thread."""
    times = []
    for row in symbols:
        began = time.perf_counter()
        captioner.caption([Request(row)])
        times.append(time.perf_counter() - began)
    return round(float(np.median(times)) * 1000, 2)

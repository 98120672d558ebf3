"""`aiflow bench rate`: bytes against the quality of captions, ours and what others would send.

    test scenes, 640x480 ─┬─ float encoder, nothing lost ──────────────┐
                          ├─ image codecs, features, merged tokens ────┼─> cloud decoder -> scores
                          ├─ the device's encoder, codec and wire ─────┘
    live street, 2 fps ───┴─ deltas ─> payloads, and what MQTT adds to them

The settings of the baselines are searched on the first scenes (`search`), and those that may prove
the cheapest of equal quality are measured on all. docs/figures.md explains the method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.baselines.images import CODECS
from aiflow.bench.baselines.way import Way
from aiflow.bench.coded import (
    FPS,
    Coder,
    KeyFrame,
    SocketBytes,
    send,
)
from aiflow.bench.judge import Answers, Scores
from aiflow.bench.rate_page import draw, table
from aiflow.bench.rate_passes import (
    CAMERA_QUALITY,
    Effort,
    LoadedBundle,
    Passed,
    Say,
    batches,
    go_through,
    search_all,
)
from aiflow.bench.search import (
    Ground,
    ScoredSetting,
    cheapest_by_facts,
    contenders,
    scored,
    strongest,
)
from aiflow.common.bundle import Bundle
from aiflow.rig.render_pool import RenderPool
from aiflow.street.world import street

SCENES: Final = 1000

Figures = dict[str, Any]


def run(
    *, seed: int, plot: Path | None, say: Say, scenes: int | None = None
) -> Mapping[str, object]:
    """Measure the built-in bundle on `scenes` scenes (1,000 unless given) and as many frames."""
    with RenderPool(seed) as renders:
        parts = LoadedBundle.load(Bundle.open("street"))
        figures = measure(parts, renders, Effort.of(scenes or SCENES), seed, say)
    say("")
    say(table(figures))
    if plot is not None:
        say(f"drawn: {draw(figures, plot)}")
    return figures


def measure(
    parts: LoadedBundle, renders: RenderPool, effort: Effort, seed: int, say: Say
) -> Figures:
    """All figures. Raises AiflowError."""
    say(f"drawing {effort.searched} test scenes to search on")
    with ThreadPoolExecutor(2) as pool:
        views = list(renders.views("test", 0, effort.searched))
        answers = Answers.of([view.scene for view in views], "test", seed)
        pictures = parts.pictures(views, pool)
        ground = Ground(pictures, answers, parts.judge, pool, effort.screened)
        searched = ground.uncompressed()
        cider = float(searched.cider.mean())
        found = search_all(parts, renders, effort, ground, cider, say)
        ours = [parts.device_encoder.encode(view.image).symbols for view in views]
        curves = {family: [point(one) for one in ways] for family, ways in found.items()}
        curves["aiflow"] = _prefixes(parts, np.stack(ours), ground, cider)
        ways = [way for family in found.values() for way in contenders(family)]
        say(f"measuring {len(ways)} settings and ours on {effort.scenes} scenes")
        scenes = batches(parts, renders, (views, pictures), effort.scenes, pool)
        passed = go_through(parts, ways, scenes, pool)
    answers = Answers.of(passed.scenes, "test", seed)
    whole = parts.judge.score(passed.whole, answers)
    baselines = _baselines(parts, ways, passed, answers, whole)
    keys = parts.coder.keys(passed.ours)
    key = _key(keys, parts.judge.score(passed.ours, answers))
    say(f"streaming {effort.frames} frames of the live street")
    stream = _stream(parts, renders, effort)
    figures = _together(effort, whole, key, stream, baselines, passed, keys)
    figures["by_facts"] = _by_facts(found, searched.fact_f1, key["payload_bytes_mean"])
    return figures | {"curves": curves}


def _by_facts(
    found: Mapping[str, Sequence[ScoredSetting]], whole_f1: float, payload: float
) -> Figures:
    """Bytes of the cheapest searched setting that keeps 99% of the facts' F1, and ratios."""
    cheapest = {family: cheapest_by_facts(ways, whole_f1) for family, ways in found.items()}
    sizes = {family: one.bytes_mean for family, one in cheapest.items() if one is not None}
    image = min((sizes[codec] for codec in CODECS if codec in sizes), default=None)
    return {
        "bytes_mean": {family: round(size, 1) for family, size in sizes.items()},
        "ratio": {
            name: round(size / payload, 2)
            for name, size in (("best_image", image), ("tofc", sizes.get("tofc")))
            if size is not None
        },
    }


def _baselines(
    parts: LoadedBundle, ways: Sequence[Way], passed: Passed, answers: Answers, whole: Scores
) -> dict[str, ScoredSetting]:
    """The strongest setting of each family on all scenes."""
    cider = float(whole.cider.mean())
    families: dict[str, list[ScoredSetting]] = {}
    for way, trip in zip(ways, passed.trips, strict=True):
        one = scored(way, trip, parts.judge.score(trip.symbols, answers), cider)
        families.setdefault(way.family, []).append(one)
    return {family: strongest(found) for family, found in families.items()}


def _together(
    effort: Effort,
    whole: Scores,
    key: Figures,
    stream: Figures,
    baselines: Mapping[str, ScoredSetting],
    passed: Passed,
    keys: Sequence[KeyFrame],
) -> Figures:
    """The figures under the names that they are known by."""
    entropy = street().entropy_bits()
    best_image = strongest([baselines[codec] for codec in CODECS])
    tofc = baselines["tofc"]
    camera = float(np.mean(passed.jpeg_bytes))
    payload = key["payload_bytes_mean"]
    return {
        "scenes": effort.scenes,
        "searched_scenes": effort.searched,
        "scene_entropy_bits": round(entropy, 3),
        "uncompressed": _quality(whole),
        "key": key,
        "stream": stream,
        "best_image": {"codec": best_image.way.family, **point(best_image)},
        "camera_jpeg": {"bytes_mean": round(camera, 1), "quality": CAMERA_QUALITY},
        "tofc": point(tofc),
        "ratio": {
            "best_image": round(best_image.bytes_mean / payload, 2),
            "best_image_bare": round(best_image.bare_bytes_mean / payload, 2),
            "tofc": round(tofc.bytes_mean / payload, 2),
            "camera_jpeg": round(camera / payload, 1),
            "floor": round(key["body_bits_mean"] / entropy, 3),
        },
        "codec_ms_p95": round(float(np.quantile([one.codec_ms for one in keys], 0.95)), 3),
        "baselines": {family: point(one) for family, one in baselines.items()},
    }


def _key(keys: Sequence[KeyFrame], scores: Scores) -> Figures:
    """Every frame as a key frame, at the rate of the live stream."""
    return {
        "payload_bytes_mean": _mean(len(one.payload) for one in keys),
        "body_bits_mean": _mean(8 * len(one.body) for one in keys),
        "ideal_bits_mean": _mean(one.ideal_bits for one in keys),
        **_socket(send(keys).socket_bytes()),
        **_quality(scores),
    }


def _stream(parts: LoadedBundle, renders: RenderPool, effort: Effort) -> Figures:
    """The live street, every frame sent; another street is a change of scene like any other."""
    frames = list(renders.live(FPS, effort.frames, parts.float_encoder.input_size))
    symbols = np.stack([parts.device_encoder.encode(image).symbols for _, image in frames])
    went = parts.coder.stream(parts.coder.keys(symbols))
    return {
        "payload_bytes_mean": _mean(len(one.payload) for one in went.frames),
        "key_share": _mean(not one.is_delta for one in went.frames),
        **_socket(went.socket_bytes()),
        "fact_f1": round(parts.judge.fact_f1(symbols, [scene for scene, _ in frames]), 4),
        "fps": FPS,
    }


def _socket(found: SocketBytes) -> Figures:
    return {
        "socket_bytes_mean": round(found.mean, 2),
        "socket": {name: round(value, 2) for name, value in asdict(found).items()},
    }


def _prefixes(
    parts: LoadedBundle, symbols: NDArray[np.uint8], ground: Ground, whole: float
) -> list[Figures]:
    """Quality and bytes of every prefix of our tokens, symbols (N, K, D), on searched scenes."""
    tables, points = parts.coder.tables, []
    for tokens in range(1, tables.tokens + 1):
        cut = (tokens,) if tokens == tables.tokens else (tokens, tables.tokens)
        coder = Coder(replace(tables, layers=cut), parts.coder.bundle_tag, 1)
        scores = parts.judge.score(symbols[:, :tokens], ground.answers)
        points.append(
            {
                "setting": f"{tokens} tokens",
                "bytes_mean": _mean(len(one.payload) for one in coder.keys(symbols)),
                **_quality(scores),
                "cider_share": round(float(scores.cider.mean()) / max(whole, 1e-9), 4),
            }
        )
    return points


def point(one: ScoredSetting) -> Figures:
    """A setting and what came of it."""
    return {
        "setting": one.way.setting,
        "bytes_mean": round(one.bytes_mean, 1),
        "bare_bytes_mean": round(one.bare_bytes_mean, 1),
        **_quality(one.scores),
        "cider_share": round(one.share, 4),
        "equal_quality": one.equal,
    }


def _quality(scores: Scores) -> Figures:
    return {
        "cider": round(float(scores.cider.mean()), 4),
        "fact_f1": round(scores.fact_f1, 4),
    }


def _mean(values: Any) -> float:
    return round(float(np.mean(list(values))), 2)

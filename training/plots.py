"""What a training looked like, as a picture for the model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

SMOOTHED: Final = 9
"""Records that a curve is averaged over: one is of a single batch."""
ENCODER: Final = {
    "local_nats": ("at the thing's own place", "#7a7a7a"),
    "direct_nats": ("pooled features", "#1f77b4"),
    "base_nats": ("base layer", "#d0559d"),
    "full_nats": ("all tokens", "#c8102e"),
}
RATES: Final = {
    "base_bits": ("base layer", "#d0559d"),
    "refinement_bits": ("refinement", "#7b4fa3"),
}
DECODERS: Final = {"nano": "#2a8a57", "edge": "#9a6a00", "cloud": "#1f77b4"}


def draw(run: Path, folder: Path, entropy_bits: float) -> Path:
    """Write training.png into `folder` from the histories in a run's folder.

    Raises ModuleNotFoundError without matplotlib.
    """
    import matplotlib as mpl  # noqa: PLC0415  only for those who want the picture

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    figure, (facts, rates, words) = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
    history = _read(run / "encoder.history.json")
    _curves(facts, history, "pictures", ENCODER)
    facts.set_yscale("log")
    _named(facts, "Facts read off the encoder", "thousand pictures", "nats a scene")
    _curves(rates, history, "pictures", RATES)
    rates.axhline(entropy_bits, color="black", linestyle=":", linewidth=1)
    rates.annotate("entropy of a scene", (0, entropy_bits), xytext=(2, 3),
                   textcoords="offset points", fontsize=8)  # fmt: skip
    _named(rates, "The code's price", "thousand pictures", "bits a scene")
    for name, colour in DECODERS.items():
        path = run / f"{name}.history.json"
        if path.exists():
            _curves(words, _read(path), "captions", {"nats": (name, colour)})
    words.set_ylim(0.5, 2.5)
    _named(words, "Captions", "thousand captions", "nats a token")
    path = folder / "training.png"
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return path


def _read(path: Path) -> list[dict[str, float]]:
    records: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))
    return records


def _curves(
    axis: Any,
    history: Sequence[Mapping[str, float]],
    over: str,
    curves: Mapping[str, tuple[str, str]],
) -> None:
    xs = [record[over] / 1000 for record in history]
    for key, (name, colour) in curves.items():
        values = [record[key] for record in history]
        spans = [
            values[max(0, at - SMOOTHED // 2) : at + SMOOTHED // 2 + 1] for at in range(len(xs))
        ]
        axis.plot(xs, [sum(span) / len(span) for span in spans], color=colour, label=name)


def _named(axis: Any, title: str, across: str, up: str) -> None:
    axis.set_title(title, loc="left")
    axis.set_xlabel(across)
    axis.set_ylabel(up)
    axis.grid(visible=True, alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)

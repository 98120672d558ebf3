"""Feature codecs fitted after the fact: TOFC's recipe on our backbone, and the same on our slots.

    features (rows, columns, C)
      - mean of each position             the static part of the view costs nothing
      -> metric -> merge to n groups      density peaks (`merging`)
      -> first d principal components -> uniform steps -> range coder      (`merged_code`)
    and back: every position gets its group's features, then the rest of the encoder: symbols.

`tofc` merges the tokens of the feature map. TOFC (arXiv 2503.12926) trains its transform and its
entropy model; here both are fitted, so the recipe is helped where fitting can help: the metric
`task` measures features by what they do to the latent, and the tables know a group's size and the
values before. The map of who belongs to whom is part of the message, because this encoder's
pooling depends on positions. With as many groups as positions nothing is merged.

`slots` does without merging: it codes the encoder's own pooled features, seven tokens that were
learned for this task. It is what remains of our codec when the bottleneck is fitted, not trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from aiflow.bench.baselines.merged_code import Integers, MergedCode, fit_map, fit_values
from aiflow.bench.baselines.merging import means, merge
from aiflow.bench.baselines.split import Cut, FloatEncoder
from aiflow.bench.baselines.way import Carried, Picture

GROUPS: Final = (16, 32, 48, 80)
DIMS: Final[dict[Cut, tuple[int, ...]]] = {
    "map": (8, 16, 32, 64, 96, 128),
    "pooled": (16, 32, 48, 64, 96, 192),
}
STEPS: Final = (0.5, 0.25, 0.125, 0.0625, 0.03125)
"""In standard deviations of the first principal component."""
METRICS: Final = ("plain", "task")
FAMILIES: Final[dict[Cut, str]] = {"map": "tofc", "pooled": "slots"}
_PROBED: Final = 16
"""Pictures on which the metric is estimated."""
_NUDGE: Final = 0.05
"""Size of a probe, in standard deviations of a channel."""
_LEAST: Final = 1e-3
"""Share of the metric's mean that every direction gets, so that it can be undone."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Where features of a cut are merged and projected: (features - mean) @ forth, and back."""

    cut: Cut
    metric: str
    mean: Floats
    """(P, C)"""
    forth: Floats
    """(C, C)"""
    back: Floats
    floor: float
    """The least that a feature can be: 0 after a ReLU."""

    def tokens(self, features: Floats) -> Floats:
        """(rows, columns, C) -> (P, C)."""
        return np.asarray((features.reshape(self.mean.shape) - self.mean) @ self.forth, np.float32)

    def features(self, tokens: Floats, shape: tuple[int, ...]) -> Floats:
        """The reverse."""
        found = np.maximum(tokens @ self.back + self.mean, self.floor)
        return np.asarray(found.reshape(shape), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class FittedWay:
    """One setting: `basis` (C, d) and `step` in a space, and the fitted tables."""

    encoder: FloatEncoder
    space: Space
    basis: Floats
    step: float
    code: MergedCode
    relative_step: float

    @property
    def family(self) -> str:
        return FAMILIES[self.space.cut]

    @property
    def setting(self) -> str:
        merged = f"{self.code.groups} tokens of {self.code.dims} dimensions"
        return f"{merged}, step {self.relative_step:g}, {self.space.metric} metric"

    def carry(self, picture: Picture) -> Carried:
        features, cut = picture.features[self.space.cut], self.space.cut
        labels, values = self.merged(features)
        body = self.code.encode(labels, values)  # `decode` gives labels and values back
        symbols = self.encoder.finish(self.restored(labels, values, features.shape), cut)
        return Carried(symbols, len(body), len(body))

    def merged(self, features: Floats) -> tuple[Integers, Integers]:
        """Labels and quantized values of features (rows, columns, C)."""
        tokens = self.space.tokens(features)
        labels = merge(tokens, self.code.groups)
        projected = means(tokens, labels) @ self.basis
        return labels, self.code.clip(quantize(projected, self.step))

    def restored(self, labels: Integers, values: Integers, shape: tuple[int, ...]) -> Floats:
        """Features of this shape (rows, columns, C)."""
        centres = (values * self.step).astype(np.float32) @ self.basis.T
        return self.space.features(centres[labels], shape)


def quantize(values: Floats, step: float) -> Integers:
    """Nearest multiple of the step."""
    return np.asarray(np.rint(values / step), np.int64)


def all_ways(
    encoder: FloatEncoder, calibration: Sequence[Picture], cut: Cut
) -> Iterator[FittedWay]:
    """Fit every setting at a cut on pictures of the calibration split."""
    seen = np.stack([picture.features[cut] for picture in calibration])
    positions = seen.shape[1] * seen.shape[2]
    for metric in METRICS:
        space = fit_space(encoder, seen, cut, metric)
        tokens = np.stack([space.tokens(features) for features in seen])
        basis, deviation = principal(tokens.reshape(-1, tokens.shape[-1]))
        for groups in GROUPS if cut == "map" else (positions,):
            if groups <= positions:
                yield from _fitted(
                    encoder, space, basis, deviation, tokens, groups, seen.shape[1:3]
                )


def _fitted(
    encoder: FloatEncoder,
    space: Space,
    basis: Floats,
    deviation: float,
    tokens: Floats,
    groups: int,
    grid: tuple[int, int],
) -> Iterator[FittedWay]:
    """All settings with one number of groups; tokens (pictures, P, C)."""
    labels = [merge(one, groups) for one in tokens]
    centres = np.stack([means(one, own) for one, own in zip(tokens, labels, strict=True)])
    sizes = np.stack([np.bincount(own, minlength=groups) for own in labels])
    map_rows = fit_map(labels, grid[1], groups)
    for dims in DIMS[space.cut]:
        head = np.ascontiguousarray(basis[:, :dims])
        projected = centres @ head
        for relative_step in STEPS:
            step = relative_step * deviation
            rows, reach = fit_values(quantize(projected, step), sizes)
            code = MergedCode(grid, groups, map_rows, rows, reach)
            yield FittedWay(encoder, space, head, step, code, relative_step)


def fit_space(encoder: FloatEncoder, seen: Floats, cut: Cut, metric: str) -> Space:
    """Mean of each position, and the metric; `seen` (pictures, rows, columns, C)."""
    channels = seen.shape[-1]
    mean = seen.mean(0).reshape(-1, channels)
    floor = 0.0 if seen.min() >= 0 else -np.inf
    if metric == "plain":
        same = np.eye(channels, dtype=np.float32)
        return Space(cut, metric, mean, same, same, floor)
    powers, axes = np.linalg.eigh(_sensitivity(encoder, seen[:_PROBED], cut))
    scale = np.sqrt(np.maximum(powers, 0) + _LEAST * powers.mean())
    forth, back = (axes * scale) @ axes.T, (axes / scale) @ axes.T
    return Space(cut, metric, mean, forth.astype(np.float32), back.astype(np.float32), floor)


def principal(tokens: Floats) -> tuple[Floats, float]:
    """Principal axes (C, C) of tokens (N, C), strongest first; deviation along the first."""
    powers, axes = np.linalg.eigh(np.cov(tokens, rowvar=False))
    return axes[:, ::-1].astype(np.float32), float(np.sqrt(powers[-1]))


def _sensitivity(encoder: FloatEncoder, seen: Floats, cut: Cut) -> NDArray[np.float64]:
    """Mean of J^T J (C, C): J is how the latent answers to the channels, at every position.

    By finite differences: one channel is nudged at all positions, up or down at random but the
    same for all channels, so that in the mean over signs positions do not mix.
    """
    rng = np.random.default_rng(0)
    channels = seen.shape[-1]
    nudge = _NUDGE * seen.reshape(-1, channels).std(0) + 1e-6
    form = np.zeros((channels, channels))
    for features in seen:
        signs = rng.choice(np.array([-1.0, 1.0], np.float32), features.shape[:2])
        still = encoder.latent(features, cut).ravel()
        answers = np.empty((channels, still.size))
        for channel in range(channels):
            moved = features.copy()
            moved[..., channel] += signs * nudge[channel]
            answers[channel] = (encoder.latent(moved, cut).ravel() - still) / nudge[channel]
        form += answers @ answers.T
    return form / len(seen)

"""Captions from task tokens, by the decoder of one tier, with a confidence that means something.

symbols, draft -> greedy decoding (common.greedy) -> tokens, text, calibrated confidence
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle, DecoderFacts
from aiflow.common.errors import BundleInvalid
from aiflow.common.greedy import END, Greedy, Row, Shape
from aiflow.common.runtime import Model, OnnxModel


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One frame to caption: symbols uint8 (k, D), k at most the bundle's K; a draft's token ids.

    `bundle` is the id of the bundle that it is coded for, where a captioner has several.
    """

    symbols: NDArray[np.uint8]
    draft: tuple[int, ...] = ()
    bundle: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A finished caption.

    `tokens` end with the end token unless the length cap cut them. `confidence` is the
    calibrated probability that all stated facts are right. `accepted` draft tokens were
    kept; `passes` runs of the decoder were needed.
    """

    tokens: tuple[int, ...]
    text: str
    confidence: float
    accepted: int = 0
    passes: int = 0


class WritesCaptions(Protocol):
    """Anything that captions a batch; the tiers know no more than this."""

    def caption(self, batch: Sequence[Request]) -> list[Draft]: ...


class BundleCaptioners:
    """The decoders of several bundles, by bundle id; a batch goes to each in turn."""

    def __init__(self, captioners: Mapping[str, WritesCaptions]) -> None:
        self._captioners = captioners

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        """As one captioner would, each request by the decoder of its bundle."""
        found: dict[int, Draft] = {}
        for bundle, captioner in self._captioners.items():
            own = [index for index, request in enumerate(batch) if request.bundle == bundle]
            drafts = captioner.caption([batch[index] for index in own]) if own else []
            found |= dict(zip(own, drafts, strict=True))
        return [found[index] for index in range(len(batch))]


class Meanings:
    """Which words mean the same: confidence is about facts, not about style.

    `kind` int (V,): the class of fact that a token states, -1 for none; `value` int (V,):
    which fact of the class; synonyms share it.
    """

    def __init__(self, kind: Sequence[int], value: Sequence[int]) -> None:
        self.kind = np.asarray(kind, dtype=np.int64)
        values = np.asarray(value, dtype=np.int64)
        self._members = [_ids(self.kind == k) for k in range(int(self.kind.max()) + 1)]
        # Tokens of one kind and value side by side, so that each token's synonyms are a slice.
        self._order = np.lexsort((values, self.kind))
        sorted_pairs = np.stack([self.kind, values])[:, self._order]
        begins = np.flatnonzero((np.diff(sorted_pairs, axis=1) != 0).any(axis=0)) + 1
        group = np.searchsorted(begins, np.argsort(self._order), side="right")
        self._first = np.concatenate([[0], begins])[group]
        self._stop = np.concatenate([begins, [len(values)]])[group]

    def log_confidence(self, logits: NDArray[np.float32], token: int) -> float:
        """Log probability of the token's meaning among all meanings of its class; 0 for style."""
        kind = int(self.kind[token])
        if kind < 0:
            return 0.0
        alike = self._order[self._first[token] : self._stop[token]]
        of_class = logits[self._members[kind]]
        top = float(of_class.max())
        whole = float(np.exp(of_class - top).sum())
        same = float(np.exp(logits[alike] - top).sum())
        return float(np.log(max(same / whole, 1e-9)))


def _ids(chosen: NDArray[np.bool_]) -> NDArray[np.int64] | slice:
    """Which are chosen; all of them as a slice, which need not be copied."""
    return slice(None) if chosen.all() else np.flatnonzero(chosen)


class Captioner:
    """The decoder of one tier: `nano`, `edge` or `cloud`."""

    def __init__(
        self, bundle: Bundle, tier: str, threads: int = 1, model: Model | None = None
    ) -> None:
        if tier not in bundle.manifest.decoders:
            known = ", ".join(bundle.manifest.decoders)
            raise BundleInvalid(f"bundle {bundle.path} has no decoder {tier!r}; it has {known}")
        self.facts: DecoderFacts = bundle.manifest.decoders[tier]
        self.shape, self._layers = Shape(bundle.tokens, bundle.dims), bundle.layers
        self._model = model or OnnxModel(bundle.file(f"decoder_{tier}"), threads=threads)
        # Most devices never caption, and so never load it.
        from tokenizers import Tokenizer  # noqa: PLC0415

        self._tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer")))
        raw = json.loads(bundle.file("meanings").read_text(encoding="utf-8"))
        self._meanings = Meanings(raw["kind"], raw["value"])

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        """Caption every request, each as if it were alone; drafts save passes, no more."""
        if not batch:
            return []
        rows = [Row(request.symbols, request.draft) for request in batch]
        greedy = Greedy(self._model, self.facts, self.shape, self._meanings.log_confidence, rows)
        greedy.begin()
        while greedy.rows:
            greedy.advance()
        return [self._draft(row) for row in rows]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids; the end token and everything unknown is left out."""
        return str(self._tokenizer.decode([t for t in tokens if t > END], skip_special_tokens=True))

    def _draft(self, row: Row) -> Draft:
        return Draft(
            tokens=tuple(row.tokens),
            text=self.decode(row.tokens),
            confidence=self._confidence(row),
            accepted=row.accepted,
            passes=row.passes,
        )

    def _confidence(self, row: Row) -> float:
        return self._calibrated(math.exp(row.log_confidence), len(row.symbols))

    def _calibrated(self, raw: float, seen: int) -> float:
        """What the confidence is worth, by the whole layers among the tokens that were seen."""
        known = self.facts.calibration
        whole = sum(tokens <= seen for tokens in self._layers)
        fit = known[min(max(whole, 1), len(known)) - 1]
        odds = fit.slope * _logit(raw) + fit.intercept
        return 1 / (1 + math.exp(-min(max(odds, -60.0), 60.0)))


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return math.log(clipped / (1 - clipped))


def warm_captioners(bundles: Iterable[Bundle], tier: str, threads: int) -> BundleCaptioners:
    """The decoders of one tier of several bundles, each run once.

    The first run of a model is the slowest; better now than with somebody's first frame.
    """
    captioners = {bundle.id: Captioner(bundle, tier, threads) for bundle in bundles}
    for bundle_id, captioner in captioners.items():
        shape = captioner.shape
        captioner.caption([Request(np.zeros((shape.tokens, shape.dims), np.uint8), (), bundle_id)])
    return BundleCaptioners(captioners)

"""Captions from task tokens: greedy decoding with a KV cache, and verification of drafts.

    symbols -> [K task tokens][start] -> token, token, ... end
    with a draft: one parallel pass over all of its tokens keeps the longest prefix the
    decoder would have said itself, then decoding goes on from there

Speculative decoding with greedy acceptance (Leviathan et al., 2211.17192): the result
is the decoder's own greedy caption, whatever the draft was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle, DecoderFacts
from aiflow.common.errors import BundleInvalid
from aiflow.common.runtime import Model, OnnxModel

VISUAL, START, END = 0, 1, 2
"""Text ids with a meaning of their own: a task token's place, first and last of a caption."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One frame to caption: symbols uint8 (k, D), k at most the bundle's K; a draft's token ids."""

    symbols: NDArray[np.uint8]
    draft: tuple[int, ...] = ()


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


class Captions(Protocol):
    """Anything that captions a batch; the tiers know no more than this."""

    def caption(self, batch: Sequence[Request]) -> list[Draft]: ...


class Meanings:
    """Which words mean the same: confidence is about facts, not about style.

    `kind` int (V,): the class of fact that a token states, -1 for none; `value` int (V,):
    which fact of the class; synonyms share it.
    """

    def __init__(self, kind: Sequence[int], value: Sequence[int]) -> None:
        self.kind = np.asarray(kind, dtype=np.int64)
        self._members = [np.flatnonzero(self.kind == k) for k in range(int(self.kind.max()) + 1)]
        values = np.asarray(value, dtype=np.int64)
        self._alike = [
            np.flatnonzero((self.kind == k) & (values == v))
            for k, v in zip(self.kind, values, strict=True)
        ]

    def log_confidence(self, logits: NDArray[np.float32], token: int) -> float:
        """Log probability of the token's meaning among all meanings of its class; 0 for style."""
        kind = int(self.kind[token])
        if kind < 0:
            return 0.0
        of_class = logits[self._members[kind]]
        top = float(of_class.max())
        whole = float(np.exp(of_class - top).sum())
        same = float(np.exp(logits[self._alike[token]] - top).sum())
        return float(np.log(max(same / whole, 1e-9)))


@dataclass(slots=True)
class _Row:
    """The state of one caption while it is decoded."""

    tokens: list[int]
    seen: int
    """Task tokens that it was given."""
    log_confidence: float = 0.0
    accepted: int = 0
    passes: int = 0
    index: int = 0


@dataclass(slots=True)
class _Cache:
    """Keys and values so far: past (layers, 2, B, H, P, W/H), and which of the P are valid."""

    past: NDArray[np.float32]
    valid: NDArray[np.bool_]
    rows: list[_Row] = field(default_factory=list)

    def append(self, present: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        self.past = np.concatenate([self.past, present], axis=4)
        self.valid = np.concatenate([self.valid, valid], axis=1)

    def keep(self, rows: list[int]) -> None:
        if len(rows) < len(self.rows):
            self.past = self.past[:, :, rows]
            self.valid = self.valid[rows]
            self.rows = [self.rows[row] for row in rows]


class Captioner:
    """The decoder of one tier: `nano`, `edge` or `cloud`."""

    def __init__(
        self, bundle: Bundle, tier: str, threads: int = 1, model: Model | None = None
    ) -> None:
        if tier not in bundle.manifest.decoders:
            known = ", ".join(bundle.manifest.decoders)
            raise BundleInvalid(f"bundle {bundle.path} has no decoder {tier!r}; it has {known}")
        self.facts: DecoderFacts = bundle.manifest.decoders[tier]
        self._tokens, self._dims, self._layers = bundle.tokens, bundle.dims, bundle.layers
        self._model = model or OnnxModel(bundle.file(f"decoder_{tier}"), threads=threads)
        # Most devices never caption, and so never load it.
        from tokenizers import Tokenizer  # noqa: PLC0415

        self._tokenizer = Tokenizer.from_file(str(bundle.file("tokenizer")))
        raw = json.loads(bundle.file("meanings").read_text(encoding="utf-8"))
        self._meanings = Meanings(raw["kind"], raw["value"])

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        """Caption every request; with drafts, verify them in one pass first."""
        if not batch:
            return []
        cache = self._verify(batch)
        done: list[_Row] = []
        while True:
            done += [row for row in cache.rows if self._finished(row)]
            cache.keep([i for i, row in enumerate(cache.rows) if not self._finished(row)])
            if not cache.rows:
                break
            self._step(cache)
        return [self._draft(row) for row in sorted(done, key=lambda row: row.index)]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of token ids; the end token and everything unknown is left out."""
        return str(self._tokenizer.decode([t for t in tokens if t > END], skip_special_tokens=True))

    def _finished(self, row: _Row) -> bool:
        return row.tokens[-1] == END or len(row.tokens) >= self.facts.max_tokens

    def _draft(self, row: _Row) -> Draft:
        return Draft(
            tokens=tuple(row.tokens),
            text=self.decode(row.tokens),
            confidence=self._calibrated(float(np.exp(row.log_confidence)), row.seen),
            accepted=row.accepted,
            passes=row.passes,
        )

    def _calibrated(self, raw: float, seen: int) -> float:
        """What the confidence is worth, by the whole layers among the tokens that were seen."""
        known = self.facts.calibration
        whole = sum(tokens <= seen for tokens in self._layers)
        fit = known[min(max(whole, 1), len(known)) - 1]
        return float(1 / (1 + np.exp(-np.clip(fit.slope * _logit(raw) + fit.intercept, -60, 60))))

    def _verify(self, batch: Sequence[Request]) -> _Cache:
        """Run prefix, start token and drafts in one pass; every row leaves with >= 1 token."""
        drafts = [self._usable(request.draft) for request in batch]
        longest = max(len(draft) for draft in drafts)
        size, first = len(batch), self._tokens + 1
        steps = first + longest
        ids = np.zeros((size, steps), np.int64)
        symbols = np.zeros((size, steps, self._dims), np.int64)
        valid = np.zeros((size, steps), np.bool_)
        ids[:, self._tokens] = START
        valid[:, self._tokens] = True
        for index, (request, draft) in enumerate(zip(batch, drafts, strict=True)):
            count = request.symbols.shape[0]
            symbols[index, :count] = request.symbols
            valid[index, :count] = True
            ids[index, first : first + len(draft)] = draft
            valid[index, first : first + len(draft)] = True
        mask = _prefix_mask(valid, self._tokens)
        positions = np.broadcast_to(np.arange(steps), (size, steps))
        logits, present = self._run(ids, symbols, positions, mask, self._no_past(size))
        rows = []
        for index, (request, draft) in enumerate(zip(batch, drafts, strict=True)):
            row = _Row([], seen=len(request.symbols), passes=1, index=index)
            self._accept(row, draft, logits[index, self._tokens :])
            valid[index, first + row.accepted :] = False
            rows.append(row)
        return _Cache(present, valid, rows)

    def _accept(self, row: _Row, draft: Sequence[int], logits: NDArray[np.float32]) -> None:
        """Keep the draft's longest prefix that is greedy here, and one token after it."""
        for step in range(len(draft) + 1):
            token = int(logits[step].argmax())
            row.tokens.append(token)
            row.log_confidence += self._meanings.log_confidence(logits[step], token)
            if step == len(draft) or token != draft[step] or self._finished(row):
                # A draft's last token that was right is accepted although nothing follows it.
                row.accepted = step + (step < len(draft) and token == draft[step])
                return

    def _step(self, cache: _Cache) -> None:
        """Decode one more token of every row."""
        size = len(cache.rows)
        ids = np.array([[row.tokens[-1]] for row in cache.rows], np.int64)
        positions = np.array(
            [[self._tokens + len(row.tokens)] for row in cache.rows], dtype=np.int64
        )
        new = np.ones((size, 1), np.bool_)
        mask = np.concatenate([cache.valid, new], axis=1)[:, None]
        symbols = np.zeros((size, 1, self._dims), np.int64)
        logits, present = self._run(ids, symbols, positions, mask, cache.past)
        cache.append(present, new)
        for row, scores in zip(cache.rows, logits[:, 0], strict=True):
            token = int(scores.argmax())
            row.tokens.append(token)
            row.passes += 1
            row.log_confidence += self._meanings.log_confidence(scores, token)

    def _usable(self, draft: tuple[int, ...]) -> tuple[int, ...]:
        """Cut a draft at the first id that this decoder cannot read, and at the length cap."""
        kept: list[int] = []
        for token in draft[: self.facts.max_tokens]:
            if not START < token < self.facts.vocabulary:
                break
            kept.append(token)
        return tuple(kept)

    def _no_past(self, size: int) -> NDArray[np.float32]:
        facts = self.facts
        shape = (facts.layers, 2, size, facts.heads, 0, facts.width // facts.heads)
        return np.zeros(shape, np.float32)

    def _run(self, *arrays: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        logits, present = self._model.run(*arrays)
        return logits, present


def _prefix_mask(valid: NDArray[np.bool_], tokens: int) -> NDArray[np.bool_]:
    """Attention mask (B, T, T): task tokens see each other, text sees them and what came before."""
    steps = valid.shape[1]
    allowed = np.tril(np.ones((steps, steps), np.bool_))
    allowed[:tokens, :tokens] = True
    mask: NDArray[np.bool_] = allowed[None] & valid[:, None, :]
    return mask


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-6), 1 - 1e-6)
    return float(np.log(clipped / (1 - clipped)))

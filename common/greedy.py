"""Greedy decoding with a KV cache, a batch at a time, and the verification of drafts on the way.

    pass 1     [K task tokens][start][draft ...]  -> the draft's greedy prefix, and one token more
    pass 2 ... [last token]                       -> one token

Speculative decoding with greedy acceptance (Leviathan et al., 2211.17192): what comes out are the
decoder's own greedy tokens, whatever the drafts were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aiflow.common.bundle import DecoderFacts
from aiflow.common.runtime import Model

VISUAL, START, END = 0, 1, 2
"""Text ids with a meaning of their own: a task token's place, first and last of a caption."""

Score = Callable[[NDArray[np.float32], int], float]
"""Gives the log confidence that a token adds, from its logits (V,)."""


@dataclass(slots=True, eq=False)
class Row:
    """One caption while it is decoded: symbols uint8 (k, D), a draft, and what was said so far."""

    symbols: NDArray[np.uint8]
    draft: Sequence[int] = ()
    tokens: list[int] = field(default_factory=list)
    log_confidence: float = 0.0
    accepted: int = 0
    """Draft tokens that were kept."""
    passes: int = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """What a bundle says of the input: K task tokens of D symbols."""

    tokens: int
    dims: int


class Greedy:
    """Captions in the making: one row for each that is not finished, and their common cache.

    The cache holds keys and values (layers, 2, B, H, P, W/H), and which of the P are valid (B, P).
    """

    def __init__(
        self, model: Model, facts: DecoderFacts, shape: Shape, score: Score, rows: Sequence[Row]
    ) -> None:
        self._model = model
        self._facts = facts
        self._shape = shape
        self._score = score
        self.rows = list(rows)
        heads = (facts.layers, 2, len(rows), facts.heads, 0, facts.width // facts.heads)
        self._past = np.zeros(heads, np.float32)
        self._valid = np.zeros((len(rows), 0), np.bool_)

    def begin(self) -> None:
        """The first pass: task tokens, start token and drafts. Every row gets a token or more."""
        tokens = self._shape.tokens
        drafts = [self._usable(row.draft) for row in self.rows]
        ids, valid = _ragged([[START, *draft] for draft in drafts])
        size, width = ids.shape
        symbols = np.zeros((size, tokens + width, self._shape.dims), np.int64)
        seen = np.zeros((size, tokens), np.bool_)
        for index, row in enumerate(self.rows):
            symbols[index, : len(row.symbols)] = row.symbols
            seen[index, : len(row.symbols)] = True
        places = np.full((size, tokens), VISUAL, np.int64)
        valid = np.concatenate([seen, valid], axis=1)
        logits = self._run(
            np.concatenate([places, ids], axis=1),
            symbols,
            np.broadcast_to(np.arange(tokens + width), (size, tokens + width)),
            _prefix_mask(valid, tokens),
            valid,
        )
        # Some decoders leave out those of the task tokens, which nobody reads.
        self._accept(drafts, logits[:, -width:])

    def advance(self) -> None:
        """One more pass over all rows; those that end with it are dropped."""
        size = len(self.rows)
        ids = np.array([[row.tokens[-1]] for row in self.rows], np.int64)
        new = np.ones((size, 1), np.bool_)
        positions = np.array(
            [[self._shape.tokens + len(row.tokens)] for row in self.rows], np.int64
        )
        mask = np.concatenate([self._valid, new], axis=1)[:, None]
        symbols = np.zeros((size, 1, self._shape.dims), np.int64)
        self._accept([()] * size, self._run(ids, symbols, positions, mask, new))

    def _drop_finished(self) -> None:
        """Carry the rows that have ended no longer along."""
        open_ = [index for index, row in enumerate(self.rows) if not self._finished(row)]
        if len(open_) == len(self.rows):
            return
        self.rows = [self.rows[index] for index in open_]
        self._past = self._past[:, :, open_]
        self._valid = self._valid[open_]

    def _run(
        self,
        ids: NDArray[np.int64],
        symbols: NDArray[np.int64],
        positions: NDArray[np.int64],
        mask: NDArray[np.bool_],
        new: NDArray[np.bool_],
    ) -> NDArray[np.float32]:
        """One pass of the model; its keys and values join the cache, `new` (B, T) being valid."""
        logits, present = self._model.run(ids, symbols, positions, mask, self._past)
        self._past = np.concatenate([self._past, present], axis=4)
        self._valid = np.concatenate([self._valid, new], axis=1)
        return logits

    def _accept(self, drafts: Sequence[Sequence[int]], logits: NDArray[np.float32]) -> None:
        """Keep each draft's longest prefix that is greedy here, and one token after it.

        `logits` (B, T, V) are those after each of the last T tokens that were read.
        """
        first = self._valid.shape[1] - logits.shape[1]
        for index, (row, draft) in enumerate(zip(self.rows, drafts, strict=True)):
            row.passes += 1
            kept = self._say(row, draft, logits[index])
            row.accepted += kept
            # What was rejected stays in the cache, unseen.
            self._valid[index, first + 1 + kept :] = False
        self._drop_finished()

    def _say(self, row: Row, draft: Sequence[int], logits: NDArray[np.float32]) -> int:
        """Add the tokens that are greedy here; returns how many of them the draft had."""
        kept = 0
        while True:
            token = int(logits[kept].argmax())
            row.tokens.append(token)
            row.log_confidence += self._score(logits[kept], token)
            right = kept < len(draft) and token == draft[kept]
            kept += right
            if not right or self._finished(row):
                return kept

    def _usable(self, draft: Sequence[int]) -> list[int]:
        """Cut a draft at the first id that this decoder cannot read, and at the length cap."""
        kept: list[int] = []
        for token in draft[: self._facts.max_tokens]:
            if not START < token < self._facts.vocabulary:
                break
            kept.append(token)
        return kept

    def _finished(self, row: Row) -> bool:
        return row.tokens[-1] == END or len(row.tokens) >= self._facts.max_tokens


def _ragged(lines: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Lines of ids side by side: (B, longest), and where there are any."""
    width = max(len(line) for line in lines)
    ids = np.zeros((len(lines), width), np.int64)
    valid = np.zeros((len(lines), width), np.bool_)
    for index, line in enumerate(lines):
        ids[index, : len(line)] = line
        valid[index, : len(line)] = True
    return ids, valid


def _prefix_mask(valid: NDArray[np.bool_], tokens: int) -> NDArray[np.bool_]:
    """Attention mask (B, T, T): task tokens see each other, text sees them and what came before."""
    steps = valid.shape[1]
    allowed = np.tril(np.ones((steps, steps), np.bool_))
    allowed[:tokens, :tokens] = True
    mask: NDArray[np.bool_] = allowed[None] & valid[:, None, :]
    return mask

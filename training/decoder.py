"""The caption decoders: one small transformer, three sizes, one embedding.

A caption is decoded after the task tokens as a prefix:

    [token 0] [token 1] ... [token K-1] <start> word word ... <end>

Any prefix of the task tokens is valid (nested dropout, Rippel et al., 1402.0915):
missing tokens are masked out of the attention. One graph serves the prefix, a
single step with a cache, and the parallel verification of a draft.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VISUAL = 0
"""The text id that marks a position as a task token; the tokenizer's padding token."""


@dataclass(frozen=True, slots=True)
class DecoderShape:
    """Sizes of a decoder. `tokens` x `dims` task symbols of `levels` values come first."""

    vocabulary: int
    width: int
    layers: int
    heads: int
    tokens: int
    dims: int
    levels: int
    positions: int
    adapter: int = 192
    dropout: float = 0.0
    """Of training alone."""


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, nn.Dropout(shape.dropout)
        self.norm_attention = nn.LayerNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.project = nn.Linear(shape.width, shape.width)
        self.norm_feed = nn.LayerNorm(shape.width)
        self.expand = nn.Linear(shape.width, 4 * shape.width)
        self.contract = nn.Linear(4 * shape.width, shape.width)

    def forward(self, x: Tensor, mask: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run x (B, T, W) under mask bool (B, T, P + T) after past (2, B, H, P, W/H).

        Returns x and the present (2, B, H, T, W/H).
        """
        batch, steps, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).reshape(
            batch, steps, 3, self.heads, width // self.heads
        )
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        present = torch.stack([key, value])
        if past is not None:
            key = torch.cat([past[0], key], dim=2)
            value = torch.cat([past[1], value], dim=2)
        scores = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5
        scores = torch.where(mask[:, None], scores, torch.full((), -1e4))
        mixed = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(batch, steps, width)
        x = x + self.dropout(self.project(mixed))
        fed = self.contract(torch.relu(self.expand(self.norm_feed(x))))
        return x + self.dropout(fed), present


class Decoder(nn.Module):
    """Task tokens and text in, logits over the next text token out."""

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.words = nn.Embedding(shape.vocabulary, shape.width)
        self.places = nn.Embedding(shape.positions, shape.width)
        # A task token is read as a whole: its dimensions mean nothing alone.
        self.symbols = nn.Embedding(shape.dims * shape.levels, shape.adapter)
        self.symbol_places = nn.Embedding(shape.tokens, shape.adapter)
        self.adapt = nn.Sequential(
            nn.ReLU(),
            nn.Linear(shape.adapter, shape.adapter),
            nn.ReLU(),
            nn.Linear(shape.adapter, shape.width),
        )
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def read_symbols(self, symbols: Tensor, positions: Tensor) -> Tensor:
        """Symbols int64 (B, T, dims), positions int64 (B, T) -> (B, T, width)."""
        offsets = torch.arange(self.shape.dims) * self.shape.levels
        hidden = self.symbols(symbols + offsets).sum(dim=2)
        hidden = hidden + self.symbol_places(positions.clamp(max=self.shape.tokens - 1))
        adapted: Tensor = self.adapt(hidden)
        return adapted

    def forward(
        self, ids: Tensor, symbols: Tensor, positions: Tensor, mask: Tensor, past: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run T positions after P cached ones.

        ids int64 (B, T): text ids, VISUAL at task tokens; symbols int64 (B, T, dims);
        positions int64 (B, T): task tokens 0..K-1, text from K on; mask bool
        (B, T, P + T): what each position may attend to; past float32
        (layers, 2, B, heads, P, width / heads) -> logits (B, T, vocabulary) and the
        present of the same form as past with T positions.
        """
        visual = (ids == VISUAL)[..., None]
        x = torch.where(visual, self.read_symbols(symbols, positions), self.words(ids))
        x = x + self.places(positions)
        presents = []
        for index, block in enumerate(self.blocks):
            x, present = block(x, mask, None if past is None else past[index])
            presents.append(present)
        logits = F.linear(self.norm(x), self.words.weight)
        return logits, torch.stack(presents)

"""The decoder layer of BERT, which BLIP and GIT share (Devlin et al., arXiv 1810.04805)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from aiflow.training.importing.decoder import Layer


class BertLayer(Layer):
    """Normalized after each part; `layer` is transformers' module."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer
        own = layer.attention.self
        self.heads = own.num_attention_heads
        self.scale = self.cross_scale = own.attention_head_size**-0.5

    def read(self, x: Tensor) -> Sequence[Tensor]:
        own = self.layer.attention.self
        return own.query(x), own.key(x), own.value(x)

    def joined(self, x: Tensor, mixed: Tensor) -> Tensor:
        after: Tensor = self.layer.attention.output(mixed, x)
        return after

    def ask(self, x: Tensor) -> Tensor:
        query: Tensor = self.layer.crossattention.self.query(x)
        return query

    def shown(self, visual: Tensor) -> Sequence[Tensor]:
        across = self.layer.crossattention.self
        return across.key(visual), across.value(visual)

    def informed(self, x: Tensor, mixed: Tensor) -> Tensor:
        after: Tensor = self.layer.crossattention.output(mixed, x)
        return after

    def feed(self, x: Tensor) -> Tensor:
        after: Tensor = self.layer.feed_forward_chunk(x)
        return after


class BertEmbedding(nn.Module):
    """Vectors (B, T, W) of words, and their positions (B, T) -> (B, T, W)."""

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.places = embeddings.position_embeddings
        self.norm = embeddings.LayerNorm

    def forward(self, words: Tensor, positions: Tensor) -> Tensor:
        embedded: Tensor = self.norm(words + self.places(positions))
        return embedded

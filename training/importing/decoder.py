"""Decoders of imported models, called as the captioner calls its own.

    ids, symbols, positions, mask, past -> logits, present      (as in training/decoder.py)

Text ids are the model's own, shifted past VISUAL, START and END. The visual places are the first
K keys of every row, and all of them are in the first pass; the rest is text. Which of a pass's
places are visual follows from that alone: those that the past leaves of the first K.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from aiflow.common.greedy import END, START
from aiflow.training.importing.architecture import Ids

SHIFT: Final = END + 1
"""The model's own id n is ours n + SHIFT."""
NEVER: Final = -1e4
"""A logit that nothing can win with; float16 can hold it."""


class Layer(nn.Module, ABC):
    """One layer of a decoder in steps, so that what it attends to is decided in one place."""

    heads: int
    scale: float
    cross_scale: float

    @abstractmethod
    def read(self, x: Tensor) -> Sequence[Tensor]:
        """Queries, keys and values (B, T, W) of the self-attention."""

    @abstractmethod
    def joined(self, x: Tensor, mixed: Tensor) -> Tensor:
        """`x` after the self-attention, which gave `mixed`."""

    @abstractmethod
    def ask(self, x: Tensor) -> Tensor:
        """Queries of the cross-attention."""

    @abstractmethod
    def shown(self, visual: Tensor) -> Sequence[Tensor]:
        """Keys and values of the cross-attention."""

    @abstractmethod
    def informed(self, x: Tensor, mixed: Tensor) -> Tensor:
        """`x` after the cross-attention, which gave `mixed`."""

    @abstractmethod
    def feed(self, x: Tensor) -> Tensor:
        """`x` after the feed-forward part."""


class Words(nn.Module):
    """A model's vocabulary: vectors of its own ids, and logits by a linear layer.

    Where both have the same weights, as in GPT-2, they are the same in the exported file too: the
    vectors are columns of what the linear layer multiplies by.
    """

    def __init__(self, embedding: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.tied = embedding.weight is head.weight
        self.embedding = None if self.tied else embedding
        self.columns = nn.Parameter(head.weight.detach().T.contiguous(), requires_grad=False)
        self.bias = head.bias
        self.size = head.out_features

    def read(self, ids: Tensor) -> Tensor:
        """Ids (B, T) -> (B, T, W)."""
        if self.embedding is not None:
            vectors: Tensor = self.embedding(ids)
            return vectors
        batch, steps = ids.shape
        return self.columns.index_select(1, ids.flatten()).T.reshape(batch, steps, -1)

    def logits(self, x: Tensor) -> Tensor:
        """(B, T, W) -> (B, T, vocabulary)."""
        return x @ self.columns if self.bias is None else x @ self.columns + self.bias


class Text(nn.Module):
    """The model's words, placed by `embed(vectors, positions)`, and said after `last(x)`."""

    def __init__(self, words: Words, embed: nn.Module, last: nn.Module, ids: Ids) -> None:
        super().__init__()
        self.words = words
        self.embed = embed
        self.last = last
        self.ends = nn.Buffer(torch.tensor(ids.ends))
        self.special = nn.Buffer(torch.tensor([ids.begin, ids.begin, ids.ends[0]]))
        never = torch.zeros(words.size)
        never[[ids.begin, *ids.ends, ids.pad]] = NEVER
        self.never = nn.Buffer(never)

    def read(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Our ids and text positions (B, T) -> (B, T, W)."""
        own = torch.where(ids > END, ids - SHIFT, self.special[ids.clamp(max=END)])
        embedded: Tensor = self.embed(self.words.read(own), positions.clamp(min=0))
        return embedded

    def logits(self, x: Tensor) -> Tensor:
        """Logits of our ids: the begin, end and padding of the model are never said as its own."""
        own = self.words.logits(self.last(x))
        end = own.index_select(-1, self.ends).amax(-1, keepdim=True)
        never = torch.full_like(end, NEVER)
        return torch.cat([*[never] * (START + 1), end, own + self.never], dim=-1)


class Sight(nn.Module):
    """The visual places: symbols (B, T, R) -> what the decoder reads (B, T, W)."""

    def __init__(self, codec: nn.Module, project: nn.Module) -> None:
        super().__init__()
        self.codec = codec
        self.project = project

    def forward(self, symbols: Tensor) -> Tensor:
        read: Tensor = self.project(self.codec(symbols))
        return read


class _Decoder(nn.Module):
    """What both kinds of decoder consist of; `places` is K, the number of visual tokens."""

    def __init__(self, sight: Sight, text: Text, layers: Sequence[Layer], places: int) -> None:
        super().__init__()
        self.sight = sight
        self.text = text
        self.layers = nn.ModuleList(layers)
        self.places = places


class PrefixDecoder(_Decoder):
    """A decoder that reads the visual tokens in front of the text, in one self-attention."""

    def forward(
        self, ids: Tensor, symbols: Tensor, positions: Tensor, mask: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) are of the text alone: the visual places come first, without any."""
        left = _visual_left(self.places, past)
        words = self.text.read(ids[:, left:], positions[:, left:] - self.places)
        x = torch.cat([self.sight(symbols[:, :left]), words], dim=1)
        presents = []
        for layer, before in zip(self.layers, past, strict=True):
            query, *new = layer.read(x)
            present = _split(new, layer.heads)
            known = torch.cat([before, present], dim=3)
            x = layer.joined(x, attend(query, known, mask, layer.scale))
            x = layer.feed(x)
            presents.append(present)
        return self.text.logits(x[:, left:]), torch.stack(presents)


class CrossDecoder(_Decoder):
    """A decoder whose text attends to itself, and in a second attention to the visual tokens.

    With L layers, past and present hold the keys and values of the text in [0, L), those of the
    visual places in [L, 2 L); each holds zeros, which nothing sees, where the other has its own.
    """

    def forward(
        self, ids: Tensor, symbols: Tensor, positions: Tensor, mask: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) are of the text alone: the visual places come first, without any."""
        places = self.places
        left = _visual_left(places, past)
        visual = self.sight(symbols[:, :left])
        x = self.text.read(ids[:, left:], positions[:, left:] - places)
        mask = mask[:, left:]
        count = len(self.layers)
        own, shown = [], []
        for index, layer in enumerate(self.layers):
            query, *new = layer.read(x)
            said = _split(new, layer.heads)
            seen = _split(layer.shown(visual), layer.heads)
            own.append(torch.cat([torch.zeros_like(seen), said], dim=3))
            shown.append(torch.cat([seen, torch.zeros_like(said)], dim=3))
            known = torch.cat([past[index], own[-1]], dim=3)[:, :, :, places:]
            x = layer.joined(x, attend(query, known, mask[:, :, places:], layer.scale))
            known = torch.cat([past[count + index], shown[-1]], dim=3)[:, :, :, :places]
            mixed = attend(layer.ask(x), known, mask[:, :, :places], layer.cross_scale)
            x = layer.feed(layer.informed(x, mixed))
        return self.text.logits(x), torch.stack([*own, *shown])


def attend(query: Tensor, known: Tensor, mask: Tensor, scale: float) -> Tensor:
    """Attention of queries (B, T, W) to keys and values (2, B, H, S, W/H) under mask (B, T, S)."""
    key, value = known[0], known[1]
    heads = key.shape[1]
    (asked,) = _split([query], heads)
    scores = asked @ key.transpose(2, 3) * scale
    # A row that sees nothing stays finite.
    scores = torch.where(mask[:, None], scores, torch.full((), NEVER))
    mixed = scores.softmax(dim=-1) @ value
    return mixed.transpose(1, 2).flatten(2)


def _split(tensors: Sequence[Tensor], heads: int) -> Tensor:
    """Tensors (B, T, W) -> (len, B, heads, T, W / heads)."""
    stacked = torch.stack(list(tensors))
    # Traced, unflatten() would make a constant of the batch, and a size left open (-1) would not
    # do for no steps at all; the width alone is the same in every pass.
    count, batch, steps, width = stacked.shape
    return stacked.reshape(count, batch, steps, heads, int(width) // heads).transpose(2, 3)


def _visual_left(places: int, past: Tensor) -> Any:
    """How many of the first `places` keys the past (layers, 2, B, H, P, W/H) does not hold yet."""
    # A tensor where the graph is traced, so that it stays a part of the graph.
    return torch.as_tensor(places - past.shape[4]).clamp(min=0)

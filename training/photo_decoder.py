"""How a decoder of captions is trained on photos: gradients to the encoder, samples, one prefix.

The network is `aiflow.training.decoder.Decoder`; what is here only runs it in other ways. The task
tokens of a photo are read once, however many captions are learned from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from aiflow.common.greedy import END, START
from aiflow.training.decoder import VISUAL, Decoder

BARRED = (0, START, 3)
"""Ids that no caption has: a task token's place, the start, the unknown word."""


def read_latent(decoder: Decoder, latent: Tensor) -> Tensor:
    """Latent float (B, K, D), 0 being the middle level -> adapted tokens (B, K, width).

    The values are those of the rounded symbols. The gradient is that of the line between the
    embeddings of the two nearest levels.
    """
    shape = decoder.shape
    table = decoder.symbols.weight.view(shape.dims, shape.levels, -1)
    raised = latent + (shape.levels - 1) / 2
    rounded = raised.round().clamp(0, shape.levels - 1).long()
    hidden = _embedded(F.one_hot(rounded, shape.levels).to(table.dtype), table)
    if latent.requires_grad:
        lower = raised.detach().floor().clamp(0, shape.levels - 2)
        part = (raised - lower).clamp(0, 1)[..., None]
        ends = [F.one_hot(lower.long() + up, shape.levels).to(table.dtype) for up in (0, 1)]
        soft = _embedded(ends[0] * (1 - part) + ends[1] * part, table.detach())
        hidden = hidden + soft - soft.detach()
    hidden = hidden + decoder.symbol_places.weight[: latent.shape[1]]
    adapted: Tensor = decoder.adapt(hidden)
    return adapted


def _embedded(weights: Tensor, table: Tensor) -> Tensor:
    return torch.einsum("bkdl,dla->bka", weights, table)


def caption_logits(decoder: Decoder, prefix: Tensor, kept: Tensor, captions: Tensor) -> Tensor:
    """Logits (B * C, T, V) of C captions (B * C, T) for each photo's task tokens (B, K, width).

    Of a photo's tokens the first `kept` (B,) exist.
    """
    batch, tokens = prefix.shape[:2]
    each, steps = len(captions) // batch, captions.shape[1]
    start = torch.full((len(captions), 1), START)
    ids = torch.cat([start, captions[:, :-1]], dim=1)
    exists, among = _existing(kept, tokens)
    before = exists.repeat_interleave(each, 0)[:, None].expand(-1, steps, -1)
    causal = torch.ones(steps, steps, dtype=torch.bool).tril()[None].expand(len(ids), -1, -1)
    mask = torch.cat([before, causal], dim=2)
    seen = prefix + decoder.places.weight[:tokens]
    said = decoder.words(ids) + decoder.places.weight[tokens : tokens + steps]
    for block in decoder.blocks:
        seen, present = block(seen, among, None)
        said, _ = block(said, mask, present.repeat_interleave(each, 1))
    return F.linear(decoder.norm(said), decoder.words.weight)


def text_logits(decoder: Decoder, captions: Tensor) -> Tensor:
    """Logits (B, T, V) of captions (B, T) without a photo."""
    tokens, steps = decoder.shape.tokens, captions.shape[1]
    ids = torch.cat([torch.full((len(captions), 1), START), captions[:, :-1]], dim=1)
    said = decoder.words(ids) + decoder.places.weight[tokens : tokens + steps]
    mask = torch.ones(steps, steps, dtype=torch.bool).tril()[None].expand(len(ids), -1, -1)
    for block in decoder.blocks:
        said, _ = block(said, mask, None)
    return F.linear(decoder.norm(said), decoder.words.weight)


@torch.no_grad()
def generate(decoder: Decoder, prefix: Tensor, kept: Tensor, steps: int, *, sample: bool) -> Tensor:
    """Captions (B, T) of task tokens (B, K, width), greedy or sampled; 0 behind the end."""
    batch, tokens = prefix.shape[:2]
    valid, among = _existing(kept, tokens)
    past, seen = [], prefix + decoder.places.weight[:tokens]
    for block in decoder.blocks:
        seen, present = block(seen, among, None)
        past.append(present)
    ids, done, said = torch.full((batch,), START), torch.zeros(batch, dtype=torch.bool), []
    for step in range(steps):
        x = (decoder.words(ids) + decoder.places.weight[tokens + step])[:, None]
        valid = torch.cat([valid, torch.ones(batch, 1, dtype=torch.bool)], dim=1)
        for index, block in enumerate(decoder.blocks):
            x, present = block(x, valid[:, None], past[index])
            past[index] = torch.cat([past[index], present], dim=3)
        logits = F.linear(decoder.norm(x[:, 0]), decoder.words.weight).float()
        logits[:, BARRED] = -1e9
        ids = torch.multinomial(logits.softmax(-1), 1)[:, 0] if sample else logits.argmax(-1)
        ids = torch.where(done, torch.zeros_like(ids), ids)
        said.append(ids)
        done |= ids == END
        if bool(done.all()):
            break
    return torch.stack(said, dim=1)


def lengths(batch: int, layers: Sequence[int]) -> Tensor:
    """How many task tokens of each photo exist while training: a whole layer, or any prefix."""
    kept = torch.tensor(layers)[torch.randint(0, len(layers), (batch,))]
    anything = torch.randint(2, layers[-1] + 1, (batch,))
    return torch.where(torch.rand(batch) < 0.15, anything, kept)


def nats(logits: Tensor, captions: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of a token, padding left out."""
    return F.cross_entropy(
        logits.float().flatten(0, 1),
        captions.flatten(),
        ignore_index=VISUAL,
        label_smoothing=smoothing,
    )


def _existing(kept: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Which task tokens exist (B, K), and what each of them may look at (B, K, K)."""
    exists = torch.arange(tokens)[None] < kept[:, None]
    # Absent ones may look at themselves: a row of all -inf has no softmax.
    return exists, exists[:, None] | torch.eye(tokens, dtype=torch.bool)

"""Train a caption decoder on cached task tokens: cheap, since no picture is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aiflow.common.greedy import START
from aiflow.training.decoder import VISUAL, Decoder, DecoderShape
from aiflow.training.progress import Bar
from aiflow.training.recipe import DecoderRecipe
from aiflow.training.train_encoder import learning_rate

LOG_EVERY = 50
CHECKPOINT_EVERY = 400
PROBE_WEIGHT = 0.2
DRAWN_TOGETHER = 8
"""Batches that are drawn at once and then sorted by length."""


@dataclass(slots=True)
class Corpus:
    """Symbols uint8 (N, K, D), captions int16 (N, per_scene, T) padded with 0, facts int16 (N, F).

    `facts` are the classes of all attributes, -1 where a thing is absent; row f of them is
    read off task token `fact_token[f]` by a probe while training. `states_fact` is a bool for
    each word.
    """

    symbols: NDArray[np.uint8]
    captions: NDArray[np.int16]
    facts: NDArray[np.int16]
    fact_token: tuple[int, ...]
    fact_sizes: tuple[int, ...]
    states_fact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long a decoder is trained, and how; `layer` is the base layer's number of tokens."""

    captions: int
    batch: int
    learning_rate: float
    seed: int
    layer: int


class Probes(nn.Module):
    """Linear readouts of the facts at the task tokens.

    A decoder that must first find out what a token means sits on a plateau for a long time;
    the probes tell its adapter at once. They are thrown away after training.
    """

    def __init__(self, corpus: Corpus, width: int) -> None:
        super().__init__()
        self.tokens = corpus.fact_token
        self.heads = nn.ModuleList(nn.Linear(width, size) for size in corpus.fact_sizes)

    def forward(self, adapted: Tensor, facts: Tensor) -> Tensor:
        """Adapted tokens (B, K, width), facts (B, F) -> mean cross-entropy."""
        losses = [
            F.cross_entropy(head(adapted[:, token]), facts[:, column].long(), ignore_index=-1)
            for column, (token, head) in enumerate(zip(self.tokens, self.heads, strict=True))
        ]
        return torch.stack(losses).nan_to_num().mean()


def training_mask(kept: Tensor, tokens: int, steps: int) -> Tensor:
    """Attention mask bool (B, K + T, K + T) when only the first `kept` (B,) task tokens exist."""
    total = tokens + steps
    allowed = torch.ones(total, total, dtype=torch.bool).tril()
    allowed[:tokens, :tokens] = True
    exists = torch.ones(len(kept), total, dtype=torch.bool)
    exists[:, :tokens] = torch.arange(tokens)[None] < kept[:, None]
    # Absent tokens may look at themselves: a row of all -inf has no softmax.
    return (allowed[None] & exists[:, None]) | torch.eye(total, dtype=torch.bool)


def prefix_lengths(batch: int, tokens: int, layer: int) -> Tensor:
    """Nested dropout over task tokens: all, the base layer, or any prefix."""
    kind = torch.rand(batch)
    anything = torch.randint(1, tokens + 1, (batch,))
    kept = torch.where(kind < 0.5, torch.full((batch,), tokens), torch.full((batch,), layer))
    return torch.where(kind > 0.9, anything, kept)


def caption_loss(
    model: Decoder, symbols: Tensor, captions: Tensor, layer: int, weight: Tensor
) -> Tensor:
    """Cross-entropy in nats a token, each word with its weight (vocabulary,)."""
    batch, tokens, dims = symbols.shape
    steps = captions.shape[1]
    ids = torch.cat(
        [
            torch.full((batch, tokens), VISUAL),
            torch.full((batch, 1), START),
            captions[:, :-1],
        ],
        dim=1,
    )
    padded = torch.cat([symbols, torch.zeros(batch, steps, dims, dtype=symbols.dtype)], dim=1)
    positions = torch.arange(tokens + steps).expand(batch, -1)
    kept = prefix_lengths(batch, tokens, layer)
    logits, _ = model(ids, padded, positions, training_mask(kept, tokens, steps), None)
    words = captions.reshape(-1)
    losses = F.cross_entropy(
        logits[:, tokens:].reshape(-1, logits.shape[-1]), words, reduction="none"
    )
    weights = weight[words] * (words != VISUAL)
    return (losses * weights).sum() / weights.sum()


def train_decoder(
    corpus: Corpus, shape: DecoderShape, recipe: DecoderRecipe, layer: int, seed: int, path: Path
) -> tuple[Decoder, list[dict[str, float]]]:
    """Train one decoder; `layer` is the number of task tokens in the base layer.

    `path` holds the checkpoint from which an interrupted run goes on.
    """
    torch.manual_seed(seed)
    schedule = Schedule(recipe.captions, recipe.batch, recipe.learning_rate, seed, layer)
    weight = torch.ones(shape.vocabulary)
    return _train(corpus, Decoder(shape), Probes(corpus, shape.width), weight, schedule, path)


def sharpen_decoder(
    corpus: Corpus, model: Decoder, recipe: DecoderRecipe, layer: int, seed: int, path: Path
) -> tuple[Decoder, list[dict[str, float]]]:
    """Train a trained decoder once more, words that state facts weighing more.

    Most of the loss of a caption is the choice of phrase, which no embedding tells. A weight for
    each word does not move the optimum, as it does not depend on what is seen: it only lets the
    noise of the phrases drown less of what there is to learn of the facts.
    """
    again = recipe.sharpen
    if again is None:
        raise ValueError("the recipe does not sharpen this decoder")
    schedule = Schedule(again.captions, recipe.batch, again.learning_rate, seed + 1, layer)
    facts = torch.from_numpy(corpus.states_fact)
    return _train(corpus, model, None, 1 + (again.fact_weight - 1) * facts, schedule, path)


def _train(
    corpus: Corpus,
    model: Decoder,
    probes: Probes | None,
    weight: Tensor,
    schedule: Schedule,
    path: Path,
) -> tuple[Decoder, list[dict[str, float]]]:
    parameters = [*model.parameters(), *(probes.parameters() if probes is not None else ())]
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, weight_decay=0.01)
    seed, steps = schedule.seed, schedule.captions // schedule.batch
    history: list[dict[str, float]] = []
    first = 0
    if path.exists():
        state = torch.load(path, weights_only=False)
        model.load_state_dict(state["model"])
        if probes is not None:
            probes.load_state_dict(state["probes"])
        optimizer.load_state_dict(state["optimizer"])
        first, history = state["step"], state["history"]
    with Bar(path.name.split(".")[0], steps, start=first) as bar:
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step / steps, schedule.learning_rate)
            torch.manual_seed(seed * 1_000_003 + step)
            symbols, captions, facts = _batch(corpus, schedule.batch, step, seed)
            loss = caption_loss(model, symbols, captions, schedule.layer, weight)
            probe = torch.zeros(())
            if probes is not None:
                places = torch.arange(symbols.shape[1]).expand(len(symbols), -1)
                probe = probes(model.read_symbols(symbols, places), facts)
            optimizer.zero_grad()
            (loss + PROBE_WEIGHT * probe).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            if step % LOG_EVERY == 0:
                seen = step * schedule.batch
                history.append({"captions": seen, "nats": loss.item(), "probe": probe.item()})
            bar.show(step + 1, f"{loss.item():.3f} nats a token, probe {probe.item():.3f}")
            if (step + 1) % CHECKPOINT_EVERY == 0:
                partial = path.with_suffix(".partial")
                torch.save(
                    {
                        "model": model.state_dict(),
                        "probes": None if probes is None else probes.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "step": step + 1,
                        "history": history,
                    },
                    partial,
                )
                partial.rename(path)
    return model.eval(), history


def _batch(corpus: Corpus, size: int, step: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Captions of nearly one length: padding costs as much as text."""
    rng = np.random.default_rng((seed, step // DRAWN_TOGETHER))
    rows = rng.integers(0, len(corpus.symbols), size * DRAWN_TOGETHER)
    choice = rng.integers(0, corpus.captions.shape[1], size * DRAWN_TOGETHER)
    lengths = (corpus.captions[rows, choice] != VISUAL).sum(1)
    batches = np.argsort(lengths, kind="stable").reshape(DRAWN_TOGETHER, size)
    chosen = batches[rng.permutation(DRAWN_TOGETHER)[step % DRAWN_TOGETHER]]
    rows, longest = rows[chosen], int(lengths[chosen].max())
    captions = corpus.captions[rows, choice[chosen]]
    return (
        torch.from_numpy(corpus.symbols[rows].astype(np.int64)),
        torch.from_numpy(captions[:, :longest].astype(np.int64)),
        torch.from_numpy(corpus.facts[rows]),
    )

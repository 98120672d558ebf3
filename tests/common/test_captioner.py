"""Greedy decoding, its cache, and drafts, on a made-up decoder and on the real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Draft, Meanings, Request
from aiflow.common.errors import BundleInvalid
from aiflow.common.greedy import END, START

TOKENS, VOCABULARY = 4, 10


class Recall:
    """A decoder whose next word depends on every valid position before it, and on nothing else.

    Its cache holds each position's id (for text) or symbols (for task tokens), so that a wrong
    mask, a wrong position or a rejected draft left in the cache changes what it says.
    """

    def __init__(self) -> None:
        self.shapes: list[tuple[int, int]] = []

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        ids, symbols, positions, mask, past = arrays
        self.shapes.append(ids.shape)
        here = (ids + 3 * symbols.sum(2) + 1) * (positions + 1)
        present = np.zeros((1, 2, *ids.shape[:1], 1, ids.shape[1], 2), np.float32)
        present[0, 0, :, 0, :, 0] = here
        known = np.concatenate([past[0, 0, :, 0, :, 0], here], axis=1)
        seen = (mask * known[:, None]).sum(2)
        logits = np.zeros((*ids.shape, VOCABULARY), np.float32)
        for row, step in np.ndindex(*ids.shape):
            word = int(seen[row, step] * 2654435761 % 2**32 / 2**32 * (VOCABULARY - 2)) + 2
            logits[row, step, word] = 5.0
        return [logits, present]


@pytest.fixture
def captioner(made_up_bundle: Path) -> Captioner:
    return Captioner(Bundle.open(made_up_bundle), "edge", model=Recall())


def frames(count: int, seed: int = 1) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 3, (int(rng.integers(1, TOKENS + 1)), 2)).astype(np.uint8)
        for _ in range(count)
    ]


def alone(captioner: Captioner, symbols: NDArray[np.uint8]) -> Draft:
    (draft,) = captioner.caption([Request(symbols)])
    return draft


def test_a_batch_says_what_each_frame_says_alone(captioner: Captioner) -> None:
    batch = frames(20)
    together = captioner.caption([Request(symbols) for symbols in batch])
    assert [d.tokens for d in together] == [alone(captioner, s).tokens for s in batch]
    assert len({d.tokens for d in together}) > 5


class Text(Recall):
    """Gives no logits of the task tokens, as imported models do."""

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        logits, present = super().run(*arrays)
        left = max(TOKENS - arrays[4].shape[4], 0)
        return [logits[:, left:], present]


def test_a_decoder_may_leave_out_the_logits_of_the_task_tokens(
    captioner: Captioner, made_up_bundle: Path
) -> None:
    short = Captioner(Bundle.open(made_up_bundle), "edge", model=Text())
    for symbols in frames(10):
        own = alone(captioner, symbols)
        for draft in ((), own.tokens, own.tokens[:2]):
            (said,) = short.caption([Request(symbols, draft)])
            assert (said.tokens, said.confidence) == (own.tokens, own.confidence)


def test_a_caption_ends_at_the_end_token_or_at_the_cap(captioner: Captioner) -> None:
    for symbols in frames(30):
        tokens = alone(captioner, symbols).tokens
        assert END not in tokens[:-1]
        assert tokens[-1] == END or len(tokens) == captioner.facts.max_tokens


def test_any_draft_leads_to_the_greedy_caption(captioner: Captioner) -> None:
    rng = np.random.default_rng(7)
    batch = frames(40)
    greedy = [alone(captioner, symbols) for symbols in batch]
    requests = []
    for symbols, own in zip(batch, greedy, strict=True):
        draft = list(own.tokens[: int(rng.integers(0, len(own.tokens) + 1))])
        if rng.random() < 0.6:
            draft += [int(t) for t in rng.integers(0, VOCABULARY + 5, int(rng.integers(0, 6)))]
        requests.append(Request(symbols, tuple(draft)))
    verified = captioner.caption(requests)
    assert [d.tokens for d in verified] == [d.tokens for d in greedy]
    assert [d.confidence for d in verified] == [d.confidence for d in greedy]


def test_a_right_draft_costs_one_pass(captioner: Captioner) -> None:
    for symbols in frames(10):
        own = alone(captioner, symbols)
        (verified,) = captioner.caption([Request(symbols, own.tokens)])
        assert verified.passes == 1
        assert verified.accepted == len(own.tokens)
        assert own.passes == len(own.tokens)


def test_a_wrong_draft_is_rejected_at_its_first_wrong_token(captioner: Captioner) -> None:
    symbols = frames(1)[0]
    own = alone(captioner, symbols)
    wrong = next(t for t in range(3, VOCABULARY) if t != own.tokens[0])
    (verified,) = captioner.caption([Request(symbols, (wrong, *own.tokens[1:]))])
    assert (verified.tokens, verified.accepted) == (own.tokens, 0)


def test_finished_rows_leave_the_batch(made_up_bundle: Path) -> None:
    model = Recall()
    captioner = Captioner(Bundle.open(made_up_bundle), "edge", model=model)
    drafts = captioner.caption([Request(symbols) for symbols in frames(20)])
    widths = [rows for rows, _ in model.shapes]
    assert widths == sorted(widths, reverse=True)
    assert sum(widths) == sum(draft.passes for draft in drafts)


def test_a_draft_is_cut_where_it_cannot_be_read(captioner: Captioner) -> None:
    symbols = frames(1)[0]
    own = alone(captioner, symbols)
    for draft in ((START,), (VOCABULARY,), (10**9,), (-1,)):
        (verified,) = captioner.caption([Request(symbols, draft)])
        assert verified.tokens == own.tokens


def test_nothing_to_caption_runs_nothing(captioner: Captioner) -> None:
    assert captioner.caption([]) == []


def test_confidence_is_about_facts_and_not_about_style(captioner: Captioner) -> None:
    meanings = captioner._meanings
    logits = np.zeros(VOCABULARY, np.float32)
    assert meanings.log_confidence(logits, 4) == 0.0
    assert meanings.log_confidence(logits, 5) == pytest.approx(np.log(0.5))
    logits[4] = 100.0
    assert meanings.log_confidence(logits, 5) == pytest.approx(np.log(0.5))


def test_confidence_is_the_share_of_all_that_mean_the_same() -> None:
    rng = np.random.default_rng(3)
    kind, value = rng.integers(-1, 3, 200), rng.integers(0, 9, 200)
    meanings, logits = Meanings(kind.tolist(), value.tolist()), rng.normal(size=200)
    for token in np.flatnonzero(kind >= 0).tolist():
        of_class = kind == kind[token]
        alike = of_class & (value == value[token])
        share = np.exp(logits[alike]).sum() / np.exp(logits[of_class]).sum()
        found = meanings.log_confidence(logits.astype(np.float32), token)
        assert found == pytest.approx(np.log(share), abs=1e-5)


def test_an_unknown_tier_names_the_known_ones(made_up_bundle: Path) -> None:
    with pytest.raises(BundleInvalid, match="it has edge"):
        Captioner(Bundle.open(made_up_bundle), "giant")


@pytest.mark.parametrize("tier", ["nano", "edge", "cloud"])
def test_the_real_decoder_verifies_any_draft_into_its_greedy_caption(tier: str) -> None:
    bundle = Bundle.open("street")
    captioner = Captioner(bundle, tier)
    rng = np.random.default_rng(11)
    levels = bundle.levels[0]
    batch = [
        rng.integers(0, levels, (bundle.tokens, bundle.dims)).astype(np.uint8) for _ in range(24)
    ]
    greedy = [alone(captioner, symbols) for symbols in batch]
    requests = []
    for symbols, own in zip(batch, greedy, strict=True):
        cut = int(rng.integers(0, len(own.tokens)))
        draft = (*own.tokens[:cut], int(rng.integers(3, captioner.facts.vocabulary)))
        requests.append(Request(symbols, draft + own.tokens[cut + 1 :]))
    verified = captioner.caption(requests)
    assert [d.tokens for d in verified] == [d.tokens for d in greedy]

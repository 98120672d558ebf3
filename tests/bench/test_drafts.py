"""The benchmark of drafts: its rows on made-up seconds, and real processes on a few frames."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("pycocoevalcap", reason="needs the extra bench")

from aiflow.bench import drafts
from aiflow.bench.link import LinkSpec
from aiflow.common.bundle import Bundle
from aiflow.common.captioner import Captioner, Request


def doubted(bundle: Bundle) -> Iterator[drafts.Doubted]:
    """Frames of no scene at all, of which the edge is rightly unsure."""
    edge, cloud = Captioner(bundle, "edge"), Captioner(bundle, "cloud")
    rng = np.random.default_rng(5)
    while True:
        symbols = rng.integers(0, bundle.levels, (bundle.tokens, bundle.dims)).astype(np.uint8)
        request = Request(symbols)
        if edge.caption([request])[0].confidence < bundle.manifest.escalate_below:
            yield drafts.Doubted(symbols, cloud.caption([request])[0])


def test_a_cloud_that_is_asked_at_once_says_what_it_would_have_said_alone() -> None:
    bundle = Bundle.open("street")
    frames = [one for one, _ in zip(doubted(bundle), range(drafts.WARM_UP + 3), strict=False)]
    went = drafts.observe(bundle, frames, LinkSpec(None, 0.0), "streamed")
    assert len(went.seconds) == went.identical == 3
    assert went.streamed_share == 1.0


def test_ways_are_compared_scene_by_scene() -> None:
    whole = drafts.Run(seconds=[0.1, 0.5, 0.2], identical=3)
    streamed = drafts.Run(seconds=[0.09, 0.49, 0.21], identical=3, streamed_share=1.0)
    row = drafts._row("a link", "streamed", streamed, whole, seed=1)
    assert row["saved_ms_median"] == 10.0
    assert row["answered_p50_s"] == 0.21
    assert (row["identical"], row["streamed_share"]) == (1.0, 1.0)
    low, high = row["saved_ms_interval"]
    assert -10.0 <= low <= high <= 10.0
    text = drafts.table({"rows": [drafts._row("a link", "whole", whole, whole, 1), row]})
    assert "-10.0 (-10.0 to" in text

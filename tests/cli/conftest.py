from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from aiflow.common.messages import Caption, CaptionBytes, Latency, Tier, caption_id


def _make(
    sequence: int = 0,
    *,
    text: str = "a red bus waits on the left",
    tier: Tier = "edge",
    update: bool = False,
    total_s: float = 0.02,
    uplink: int = 40,
    timestamp: float = 1_700_000_000.0,
    device: str = "demo",
) -> Caption:
    return Caption(
        id=caption_id(device, "street", 1, sequence),
        device=device,
        camera="street",
        timestamp=timestamp,
        type="update" if update else "new",
        text=text,
        confidence=0.97,
        tier=tier,
        mode="cascade" if tier == "cloud" else "split",
        bytes=CaptionBytes(embedding=20, uplink=uplink),
        latency_s=Latency(total=total_s),
        bundle="0" * 64,
        late=False,
        sequence=sequence,
    )


@pytest.fixture
def make_caption() -> Callable[..., Caption]:
    return _make


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    """Commands set up logging for their process, which here is everybody's."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers

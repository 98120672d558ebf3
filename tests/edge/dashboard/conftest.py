from __future__ import annotations

from collections.abc import Callable

import pytest

from aiflow.common.messages import Caption, CaptionBytes, Latency, Mode, Tier
from aiflow.common.topics import Topics

MakeCaption = Callable[..., Caption]


def make_caption(
    number: int,
    text: str = "a red bus waits",
    *,
    device: str = "pi",
    camera: str = "door",
    tier: Tier = "edge",
    mode: Mode = "split",
    update: bool = False,
    uplink: int = 30,
    total_s: float = 0.02,
    late: bool = False,
) -> Caption:
    return Caption(
        id=f"{device}/{camera}/1-{number}",
        device=device,
        camera=camera,
        timestamp=1_000.0 + number,
        type="update" if update else "new",
        text=text,
        confidence=0.9,
        tier=tier,
        mode=mode,
        bytes=CaptionBytes(embedding=uplink - 10, uplink=uplink),
        latency_s=Latency(queue=0.001, decode=0.01, total=total_s),
        bundle="0" * 64,
        late=late,
        sequence=number,
    )


@pytest.fixture
def caption() -> MakeCaption:
    return make_caption


@pytest.fixture
def topics() -> Topics:
    return Topics()

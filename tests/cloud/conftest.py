"""Stand-ins for what a cloud worker is connected to: an edge node's requests, a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from aiflow.common.captioner import Draft, Request
from aiflow.common.codec import Symbols, Tables, compress
from aiflow.common.wire import (
    MAC_BYTES,
    Context,
    Escalation,
    Header,
    Kind,
    Packet,
    pack,
    pack_escalation,
)

TAG = b"\xab\xab"
TABLES = Tables.uniform(6, 3, 5, layers=(4, 6))


class FakeCaptions:
    """Says the symbols' sum, in tokens that a draft may agree with."""

    def __init__(self) -> None:
        self.batches: list[list[Request]] = []
        self.fault: Exception | None = None

    def caption(self, batch: Sequence[Request]) -> list[Draft]:
        self.batches.append(list(batch))
        if self.fault is not None:
            raise self.fault
        return [self._draft(request) for request in batch]

    def _draft(self, request: Request) -> Draft:
        total = int(request.symbols.sum())
        tokens = (total, total + 1, 2)
        agree = [a == b for a, b in zip(request.draft, tokens, strict=False)]
        accepted = agree.index(False) if False in agree else len(agree)
        return Draft(tokens, f"a sum of {total}", 0.97, accepted=accepted, passes=4 - accepted)


class FakeEdge:
    """Makes requests as an edge node does."""

    def __init__(self, key: bytes | None = None) -> None:
        self.context = Context("pi", "door", 1_700_000_000_000, key)
        self.trailer = 2 if key is None else MAC_BYTES

    def symbols(self, sequence: int) -> Symbols:
        return np.random.default_rng(sequence).integers(0, 5, (6, 3)).astype(np.uint8)

    def key_frame(self, sequence: int, tag: bytes = TAG) -> bytes:
        body = compress(self.symbols(sequence), TABLES)
        return pack(Packet(Kind.KEY, tag, sequence, 0, body), self.context)

    def delta(self, sequence: int, reference: int) -> bytes:
        body = compress(self.symbols(sequence), TABLES, reference=self.symbols(reference)[:4])
        header = Header(TAG, reference, 0, 1)
        packet = Packet(Kind.DELTA, TAG, sequence, 0, body, reference=header)
        return pack(packet, self.context)

    def refinement(self, sequence: int) -> bytes:
        body = compress(self.symbols(sequence), TABLES, first_layer=1)
        return pack(Packet(Kind.REFINE, TAG, sequence, 0, body, first_layer=1), self.context)

    def request(
        self, *payloads: bytes, draft: tuple[int, ...] = (), deadline_ms: int = 2000
    ) -> bytes:
        return pack_escalation(
            Escalation(
                device="pi",
                camera="door",
                epoch_ms=self.context.epoch_ms,
                deadline_ms=deadline_ms,
                payloads=payloads,
                draft=draft,
                trailer=self.trailer,
            )
        )


@pytest.fixture
def captions() -> FakeCaptions:
    return FakeCaptions()


@pytest.fixture
def edge() -> FakeEdge:
    return FakeEdge()


@pytest.fixture
def signed_edge() -> FakeEdge:
    return FakeEdge(bytes(range(16)))


@pytest.fixture
def tables() -> Tables:
    return TABLES

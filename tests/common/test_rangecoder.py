from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiflow.common.errors import PayloadMalformed
from aiflow.common.rangecoder import MAX_TOTAL, RangeDecoder, RangeEncoder

Interval = tuple[int, int, int]


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    total = draw(st.integers(1, MAX_TOTAL))
    low = draw(st.integers(0, total - 1))
    return low, draw(st.integers(low + 1, total)), total


def encode(messages: list[Interval]) -> bytes:
    encoder = RangeEncoder()
    for interval in messages:
        encoder.encode(*interval)
    return encoder.finish()


def decode(body: bytes, messages: list[Interval]) -> None:
    """Check that each target falls in its interval and that the body is canonical."""
    decoder = RangeDecoder(body)
    for low, high, total in messages:
        if not low <= decoder.target(total) < high:
            raise PayloadMalformed("another symbol")
        decoder.consume(low, high, total)
    decoder.finish()


@given(st.lists(intervals(), max_size=60))
def test_round_trip_in_nearly_the_ideal_length(messages: list[Interval]) -> None:
    body = encode(messages)
    decode(body, messages)
    bits = sum(math.log2(total / (high - low)) for low, high, total in messages)
    assert len(body) <= math.ceil((bits + 0.003 * len(messages) + 0.001) / 8)


@given(st.lists(intervals(), max_size=20), st.binary(min_size=1, max_size=3))
def test_anything_appended_is_refused(messages: list[Interval], more: bytes) -> None:
    with pytest.raises(PayloadMalformed):
        decode(encode(messages) + more, messages)


@given(st.lists(intervals(), max_size=20))
def test_no_shorter_body_and_no_smaller_one_would_do(messages: list[Interval]) -> None:
    """The body less one, and every shorter body, lies outside the final interval."""
    body = encode(messages)
    assert not body.endswith(b"\0")
    if body:
        less_one = (int.from_bytes(body, "big") - 1).to_bytes(len(body), "big")
        one_more = (int.from_bytes(body[:-1], "big") + 1) % 256 ** max(1, len(body) - 1)
        others = [less_one, body[:-1], one_more.to_bytes(max(1, len(body) - 1), "big")]
        for other in others:
            if other != body:
                with pytest.raises(PayloadMalformed):
                    decode(other, messages)


@given(st.binary(max_size=12), st.integers(1, 300), st.integers(0, 12))
def test_random_bytes_are_refused_or_canonical(body: bytes, total: int, symbols: int) -> None:
    decoder, messages = RangeDecoder(body), []
    try:
        for _ in range(symbols):
            count = decoder.target(total)
            assert 0 <= count < total
            messages.append((count, count + 1, total))
            decoder.consume(*messages[-1])
        decoder.finish()
    except PayloadMalformed:
        return
    assert encode(messages) == body


def test_carry_runs_through_many_bytes() -> None:
    """Fifty symbols just below a byte boundary, then one that pushes over it."""
    messages = [(MAX_TOTAL // 2 - 1, MAX_TOTAL // 2, MAX_TOTAL)]
    messages += [(MAX_TOTAL - 1, MAX_TOTAL, MAX_TOTAL)] * 50
    decode(encode(messages), messages)


def test_the_first_symbol_alone_costs_nothing() -> None:
    assert encode([(0, 1, MAX_TOTAL)] * 100) == b""
    decode(b"", [(0, 1, MAX_TOTAL)] * 100)


def test_all_messages_of_a_small_alphabet_have_different_bodies() -> None:
    cumulative = [0, *accumulate((1, 5, 2))]
    symbols = list(zip(cumulative, cumulative[1:], [8] * 3, strict=False))
    bodies = {encode([a, b, c]) for a in symbols for b in symbols for c in symbols}
    assert len(bodies) == 27

"""The codec: a frame's symbols to a body of few bytes, and back.

    symbols (k, D) ─ compress ─> body ─ decompress ─> symbols (k, D)
                        │                   │
                     tables              tables, and the base layers or the reference

Coded are the tokens of some consecutive layers, in the order of their positions; each symbol
with the row that its table and its parents pick (`aiflow.common.tables`). With a reference, each
token that the reference has too begins with a flag; an unchanged token ends there.

The same walk over the positions encodes, decodes and prices; only what it does with an interval
differs. Integers only, but for `code_bits`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import PayloadMalformed, ReferenceMissing
from aiflow.common.rangecoder import RangeDecoder, RangeEncoder
from aiflow.common.tables import Tables

__all__ = ["Tables", "code_bits", "compress", "decompress"]

Symbols = NDArray[np.uint8]

_Code = Callable[[int, int, int], int]
"""Code one symbol: (start of its row in counts, levels, symbol if known) -> symbol."""


def compress(
    symbols: Symbols,
    tables: Tables,
    *,
    first_layer: int = 0,
    layers: int = 1,
    reference: Symbols | None = None,
) -> bytes:
    """Code the tokens of `layers` layers from `first_layer` on.

    `symbols` (k, D) begins with the frame's first token, also when the first layers are not
    coded, and reaches at least to the last token coded. `reference` (r, D) makes a delta; tokens
    beyond it are coded as in a key frame. Raises PayloadMalformed for symbols, layers or shapes
    that the tables do not have.
    """
    first, stop = _span(tables, first_layer, layers)
    values = _values(symbols, tables, stop, "symbols")
    encoder = RangeEncoder()
    counts = tables.counts

    def code(row: int, levels: int, symbol: int) -> int:
        encoder.encode(counts[row + symbol], counts[row + symbol + 1], counts[row + levels])
        return symbol

    _walk(values, first, tables, _reference(reference, tables, stop), code)
    return encoder.finish()


def decompress(
    body: bytes,
    tables: Tables,
    *,
    first_layer: int = 0,
    layers: int = 1,
    base: Symbols | None = None,
    reference: Symbols | None = None,
) -> Symbols:
    """Decode a body, giving the tokens of its layers: (k, D).

    `base` (b, D) are the frame's tokens before `first_layer` (further ones are ignored),
    `reference` what `compress` was given; both begin with their frame's first token. Raises
    ReferenceMissing when the base is missing or too short, and PayloadMalformed for a body that
    `compress` would not have made. Whether a delta's reference is at hand, the caller must know:
    without one this is a key frame.
    """
    first, stop = _span(tables, first_layer, layers)
    values = [0] * (stop * tables.dims)
    if first > 0:
        if base is None or len(base) < first:
            raise ReferenceMissing(f"layer {first_layer} came without the layers before it")
        values[: first * tables.dims] = _values(base, tables, first, "base")
    decoder = RangeDecoder(body)
    counts = tables.counts

    def code(row: int, levels: int, _: int) -> int:
        end = row + levels
        total = counts[end]
        found = bisect_right(counts, decoder.target(total), row, end)
        decoder.consume(counts[found - 1], counts[found], total)
        return found - 1 - row

    _walk(values, first, tables, _reference(reference, tables, stop), code)
    decoder.finish()
    return np.array(values, np.uint8).reshape(stop, tables.dims)[first:]


def code_bits(
    symbols: Symbols,
    tables: Tables,
    *,
    first_layer: int = 0,
    layers: int = 1,
    reference: Symbols | None = None,
) -> float:
    """Ideal code length in bits of what `compress` codes, for benchmarks: -sum of log2 p."""
    first, stop = _span(tables, first_layer, layers)
    values = _values(symbols, tables, stop, "symbols")
    counts = tables.counts
    bits = 0.0

    def code(row: int, levels: int, symbol: int) -> int:
        nonlocal bits
        bits += math.log2(counts[row + levels] / (counts[row + symbol + 1] - counts[row + symbol]))
        return symbol

    _walk(values, first, tables, _reference(reference, tables, stop), code)
    return bits


def _walk(values: list[int], first: int, tables: Tables, reference: list[int], code: _Code) -> None:
    """Code the tokens from `first` on; `values` holds the frame, or is filled by decoding.

    `values` and `reference` are flat. A changed token that equals its reference would be a second
    spelling of an unchanged one, hence malformed.
    """
    dims = tables.dims
    for at in range(first * dims, len(values), dims):
        stop, steps, changed = at + dims, tables.steps, False
        if stop <= len(reference):
            previous = slice(max(0, at - dims), at)
            after_change = values[previous] != reference[previous]
            row = tables.flag_row(at // dims, after_change=after_change)
            if not code(row, 2, values[at:stop] != reference[at:stop]):
                values[at:stop] = reference[at:stop]
                continue
            steps, changed = tables.delta_steps, True
        for position in range(at, stop):
            row, levels, reference_stride, parents = steps[position]
            if reference_stride:
                row += reference_stride * reference[position]
            for parent, stride in parents:
                row += stride * values[parent]
            values[position] = code(row, levels, values[position])
        if changed and values[at:stop] == reference[at:stop]:
            raise PayloadMalformed("a token marked as changed is not")


def _span(tables: Tables, first_layer: int, layers: int) -> tuple[int, int]:
    """First token and the one after the last of some layers."""
    if first_layer < 0 or layers < 1 or first_layer + layers > len(tables.layers):
        raise PayloadMalformed(
            f"{layers} layers from {first_layer}; the bundle has {len(tables.layers)}"
        )
    first = tables.layers[first_layer - 1] if first_layer else 0
    return first, tables.layers[first_layer + layers - 1]


def _reference(reference: Symbols | None, tables: Tables, stop: int) -> list[int]:
    if reference is None:
        return []
    return _values(reference, tables, min(stop, len(reference)), "reference")


def _values(symbols: Symbols, tables: Tables, tokens: int, what: str) -> list[int]:
    """The first `tokens` tokens as a flat list, checked."""
    if symbols.ndim != 2 or symbols.shape[1] != tables.dims or len(symbols) < tokens:
        raise PayloadMalformed(f"{what} of shape {symbols.shape}; want ({tokens}, {tables.dims})")
    head = symbols[:tokens]
    if symbols.dtype != np.uint8 or (head >= np.array(tables.levels)).any():
        raise PayloadMalformed(f"{what} of {symbols.dtype} beyond the levels {tables.levels}")
    values: list[int] = head.ravel().tolist()
    return values

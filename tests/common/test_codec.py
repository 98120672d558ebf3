from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aiflow.common.codec import code_bits, compress, decompress
from aiflow.common.counts import DeltaCounts
from aiflow.common.errors import PayloadMalformed, ReferenceMissing
from aiflow.common.tables import Tables

Symbols = NDArray[np.uint8]

VECTORS = Path(__file__).parents[1] / "vectors"
PAGE_TABLES = Tables.uniform(2, 3, (5, 4, 3), (1, 2))
FRAME = np.array([[3, 0, 2], [1, 3, 1]], np.uint8)
NEXT = np.array([[3, 0, 2], [4, 3, 1]], np.uint8)


def random_tables(seed: int, *, delta: bool = True) -> Tables:
    """Some tables of any shape: skewed counts, any earlier positions as parents."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(2, 9, rng.integers(1, 5)).tolist()
    tokens = int(rng.integers(1, 7))
    layers = sorted({tokens, *rng.integers(1, tokens + 1, 2).tolist()})

    def choose(most: int) -> list[list[int]]:
        return [
            sorted(rng.choice(p, min(p, int(rng.integers(0, most + 1))), replace=False).tolist())
            for p in range(tokens * len(levels))
        ]

    def count(parents: list[list[int]], *, of_delta: bool) -> list[NDArray[np.int64]]:
        tables = []
        for p, own in enumerate(parents):
            symbols = levels[p % len(levels)]
            rows = int(np.prod([levels[q % len(levels)] for q in own], dtype=int))
            shape = (rows * symbols if of_delta else rows, symbols)
            tables.append(rng.integers(0, 2, shape) * rng.integers(0, 10_000, shape))
        return tables

    parents, delta_parents = choose(3), choose(1)
    deltas = DeltaCounts(
        delta_parents, count(delta_parents, of_delta=True), rng.integers(0, 90, (tokens, 2, 2))
    )
    return Tables.from_counts(
        levels, layers, parents, count(parents, of_delta=False), deltas if delta else None
    )


def random_frame(tables: Tables, rng: np.random.Generator) -> Symbols:
    return rng.integers(0, tables.levels, (tables.tokens, tables.dims)).astype(np.uint8)


def changed(frame: Symbols, tables: Tables, rng: np.random.Generator) -> Symbols:
    """The frame with some tokens drawn anew."""
    keep = rng.random((tables.tokens, 1)) < 0.6
    return np.where(keep, frame, random_frame(tables, rng))


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    """Tables, a frame, some layers of it, and perhaps a reference of any number of layers."""
    seed = draw(st.integers(0, 2**32))
    tables = random_tables(seed, delta=draw(st.booleans()))
    rng = np.random.default_rng(seed + 1)
    first = draw(st.integers(0, len(tables.layers) - 1))
    reference = None
    if draw(st.booleans()):
        reference = random_frame(tables, rng)[: draw(st.sampled_from(tables.layers))]
    frame = random_frame(tables, rng)
    if reference is not None:
        frame[: len(reference)] = changed(
            np.resize(reference, frame.shape) % np.array(tables.levels, np.uint8), tables, rng
        )[: len(reference)]
    return {
        "symbols": frame,
        "tables": tables,
        "first_layer": first,
        "layers": draw(st.integers(1, len(tables.layers) - first)),
        "reference": reference,
    }


def decode(body: bytes, case: dict[str, Any]) -> Symbols:
    rest = {key: value for key, value in case.items() if key != "symbols"}
    return decompress(body, **rest, base=case["symbols"])


def coded(case: dict[str, Any]) -> Symbols:
    """The tokens that the case's body carries."""
    ends = [0, *case["tables"].layers]
    first = case["first_layer"]
    tokens: Symbols = case["symbols"][ends[first] : ends[first + case["layers"]]]
    return tokens


# Both ways.


@given(cases())
def test_what_is_compressed_comes_back(case: dict[str, Any]) -> None:
    body = compress(**case)
    assert np.array_equal(decode(body, case), coded(case))


@given(cases())
def test_length_is_nearly_ideal(case: dict[str, Any]) -> None:
    bits = code_bits(**case)
    symbols = coded(case).size + len(coded(case))
    assert len(compress(**case)) <= (bits + 0.003 * symbols) / 8 + 1


@given(cases(), st.binary(min_size=1, max_size=2))
def test_no_frame_has_a_second_spelling(case: dict[str, Any], more: bytes) -> None:
    """Bytes appended make the body malformed, or at most that of another frame."""
    try:
        tokens = decode(compress(**case) + more, case)
    except PayloadMalformed:
        return
    assert not np.array_equal(tokens, coded(case))


@given(cases(), st.binary(max_size=3))
def test_bytes_that_no_symbol_could_need_are_malformed(case: dict[str, Any], more: bytes) -> None:
    longest = 4 + 2 * (coded(case).size + len(coded(case)))
    with pytest.raises(PayloadMalformed):
        decode(compress(**case).ljust(longest, b"\0") + b"\0" + more, case)


@given(cases(), st.binary(max_size=12))
def test_random_bodies_are_malformed_or_the_only_spelling(
    case: dict[str, Any], body: bytes
) -> None:
    try:
        tokens = decode(body, case)
    except PayloadMalformed:
        return
    whole = case["symbols"].copy()
    ends = [0, *case["tables"].layers]
    whole[ends[case["first_layer"]] : ends[case["first_layer"]] + len(tokens)] = tokens
    assert compress(**case | {"symbols": whole}) == body


def test_mutated_bodies() -> None:
    """A few thousand bodies with bytes changed, dropped or added: malformed, or canonical."""
    chance, tables = random.Random(5), random_tables(17)
    rng = np.random.default_rng(5)
    reference = random_frame(tables, rng)
    layers = len(tables.layers)
    bodies = [
        compress(changed(reference, tables, rng), tables, layers=layers, reference=reference)
        for _ in range(50)
    ]
    refused = 0
    for _ in range(3000):
        body = bytearray(chance.choice(bodies))
        at = chance.randrange(len(body) + 1)
        body[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        try:
            frame = decompress(bytes(body), tables, layers=layers, reference=reference)
        except PayloadMalformed:
            refused += 1
        else:
            assert compress(frame, tables, layers=layers, reference=reference) == body
    assert refused > 500


def test_the_longest_payload_of_noise_is_refused_at_once() -> None:
    with pytest.raises(PayloadMalformed):
        decompress(b"\xa5" * 4096, PAGE_TABLES)


# Layers.


@given(st.integers(0, 2**32))
def test_any_split_into_layers_gives_the_same_frame(seed: int) -> None:
    tables = random_tables(seed)
    frame = random_frame(tables, np.random.default_rng(seed))
    received = np.zeros((0, tables.dims), np.uint8)
    for layer in range(len(tables.layers)):
        body = compress(frame, tables, first_layer=layer)
        further = decompress(body, tables, first_layer=layer, base=received)
        received = np.concatenate([received, further])
        assert np.array_equal(received, frame[: tables.layers[layer]])


def test_refine_needs_its_base() -> None:
    body = compress(FRAME, PAGE_TABLES, first_layer=1)
    for base in (None, FRAME[:0]):
        with pytest.raises(ReferenceMissing, match="layer 1"):
            decompress(body, PAGE_TABLES, first_layer=1, base=base)


# Time.


@given(st.integers(0, 2**32), st.booleans())
def test_a_still_scene_has_an_empty_body(seed: int, delta: bool) -> None:
    tables = random_tables(seed, delta=delta)
    frame = random_frame(tables, np.random.default_rng(seed))
    layers = len(tables.layers)
    assert compress(frame, tables, layers=layers, reference=frame) == b""
    assert np.array_equal(decompress(b"", tables, layers=layers, reference=frame), frame)


def test_a_changed_token_that_is_not_changed_is_malformed() -> None:
    """Flag 1, then the reference's own symbols: no encoder writes it."""
    tables = Tables.uniform(1, 1, 2)
    bodies = {
        symbol: compress(
            np.array([[symbol]], np.uint8), tables, reference=np.array([[1 - symbol]], np.uint8)
        )
        for symbol in (0, 1)
    }
    for symbol, body in bodies.items():
        with pytest.raises(PayloadMalformed, match="marked as changed"):
            decompress(body, tables, reference=np.array([[symbol]], np.uint8))


def test_learned_deltas_depend_on_the_reference_symbol() -> None:
    """The symbol nearly always rises by one: cheap where it does, dear where it does not."""
    rows = np.full((8, 8), 1)
    rows[np.arange(8), (np.arange(8) + 1) % 8] = 10_000
    tables = Tables.from_counts(
        [8],
        [1],
        [()],
        [np.ones((1, 8), np.int64)],
        DeltaCounts([()], [rows], np.ones((1, 2, 2), np.int64)),
    )

    def bits(symbol: int, reference: int) -> float:
        return code_bits(
            np.array([[symbol]], np.uint8), tables, reference=np.array([[reference]], np.uint8)
        )

    assert all(bits((old + 1) % 8, old) < 1.1 for old in range(8))
    assert all(bits((old + 3) % 8, old) > 10 for old in range(8))


def test_tokens_beyond_a_short_reference_are_coded_as_in_a_key_frame() -> None:
    both = code_bits(NEXT, PAGE_TABLES, layers=2, reference=NEXT[:1])
    second = code_bits(NEXT, PAGE_TABLES, first_layer=1)
    assert both - second == pytest.approx(np.log2(32_768 / 30_720))


# What no caller should ask for.


@pytest.mark.parametrize("first_layer, layers", [(-1, 1), (0, 0), (0, 3), (2, 1)])
def test_layers_that_the_bundle_does_not_have(first_layer: int, layers: int) -> None:
    with pytest.raises(PayloadMalformed, match="the bundle has 2"):
        compress(FRAME, PAGE_TABLES, first_layer=first_layer, layers=layers)
    with pytest.raises(PayloadMalformed, match="the bundle has 2"):
        decompress(b"", PAGE_TABLES, first_layer=first_layer, layers=layers, base=FRAME)


@pytest.mark.parametrize(
    "symbols",
    [
        FRAME[:1],
        FRAME[:, :2],
        FRAME[0],
        FRAME.astype(np.int64),
        np.array([[5, 0, 0], [0, 0, 0]], np.uint8),
        np.zeros((2, 0), np.uint8),
    ],
)
def test_symbols_that_do_not_fit(symbols: Symbols) -> None:
    with pytest.raises(PayloadMalformed, match="symbols of"):
        compress(symbols, PAGE_TABLES, layers=2)


def test_references_and_bases_that_do_not_fit() -> None:
    wrong = np.full((2, 3), 5, np.uint8)
    with pytest.raises(PayloadMalformed, match="reference of"):
        decompress(b"", PAGE_TABLES, reference=wrong)
    with pytest.raises(PayloadMalformed, match="base of"):
        decompress(b"", PAGE_TABLES, first_layer=1, base=wrong)


# Golden bytes.


def test_bodies_are_those_of_the_page(wire_page: dict[str, bytes]) -> None:
    assert compress(FRAME, PAGE_TABLES) == wire_page["body-key"]
    assert compress(FRAME, PAGE_TABLES, first_layer=1) == wire_page["body-refine"]
    assert compress(FRAME, PAGE_TABLES, layers=2) == wire_page["body-both"]
    assert compress(NEXT, PAGE_TABLES, layers=2, reference=FRAME) == wire_page["body-delta"]
    assert np.array_equal(decompress(wire_page["body-both"], PAGE_TABLES, layers=2), FRAME)


def test_vectors(request: pytest.FixtureRequest) -> None:
    """Bodies of given tables never change; with --regenerate-vectors they are made anew."""
    if request.config.getoption("--regenerate-vectors"):
        regenerate_vectors()
    tables = Tables.load(VECTORS / "codec.npz")
    vectors = json.loads((VECTORS / "codec.json").read_text())
    assert len(vectors) == 60
    for vector in vectors:
        reference = vector["reference"]
        case = {
            "symbols": np.array(vector["symbols"], np.uint8),
            "tables": tables,
            "first_layer": vector["first_layer"],
            "layers": vector["layers"],
            "reference": None if reference is None else np.array(reference, np.uint8),
        }
        body = bytes.fromhex(vector["body"])
        assert compress(**case) == body
        assert np.array_equal(decode(body, case), coded(case))


def regenerate_vectors() -> None:
    """Three layers, parents, learned deltas; keys, refines and deltas."""
    tables = random_tables(2)
    assert len(tables.layers) == 3
    assert len(tables.levels) == 4
    tables.save(VECTORS / "codec.npz")
    rng = np.random.default_rng(2)
    vectors, frame = [], random_frame(tables, rng)
    for _ in range(10):
        reference, frame = frame, changed(frame, tables, rng)
        for first, layers, against in (
            (0, 1, None),
            (0, 3, None),
            (1, 1, None),
            (1, 2, None),
            (0, 1, reference),
            (0, 3, reference[: tables.layers[1]]),
        ):
            body = compress(frame, tables, first_layer=first, layers=layers, reference=against)
            vectors.append(
                {
                    "symbols": frame.tolist(),
                    "first_layer": first,
                    "layers": layers,
                    "reference": None if against is None else against.tolist(),
                    "body": body.hex(),
                }
            )
    lines = ",\n".join(map(json.dumps, vectors))
    (VECTORS / "codec.json").write_text(f"[\n{lines}\n]\n")

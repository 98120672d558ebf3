from __future__ import annotations

import numpy as np
import pytest

from aiflow.bench import fuzz as fuzzing
from aiflow.bench.hostile import hostile, payloads, typical
from aiflow.common.codec import Tables
from aiflow.common.wire import Kind, Packet

TABLES = Tables.uniform(6, 3, 5, layers=(2, 6))


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "FLIPS_A_SCENE", 50)
    monkeypatch.setattr(fuzzing, "HOSTILE_A_SCENE", 100)
    monkeypatch.setattr(fuzzing, "TRACED", 50)


def _fuzz(seed: int = 0) -> dict[str, object]:
    return fuzzing.fuzz(TABLES, b"ab", 20, seed, lambda _: None)


def test_nothing_hostile_does_harm() -> None:
    figures = _fuzz()
    assert figures["passed"] is True
    assert (figures["flips"], figures["flips_accepted"]) == (1000, 0)
    assert figures["hostile"] == 2000


def test_the_seed_decides_everything() -> None:
    same = [_fuzz(5)["outcomes"], _fuzz(5)["outcomes"]]
    assert same[0] == same[1]
    assert same[0] != _fuzz(6)["outcomes"]


def test_hostile_payloads_go_everywhere() -> None:
    outcomes = _fuzz()["outcomes"]
    assert isinstance(outcomes, dict)
    everywhere = {"accepted", "checksum", "mac", "malformed", "reference", "truncated", "version"}
    assert outcomes.keys() == everywhere


def test_a_crash_is_found_and_its_payload_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(packet: Packet, _tables: Tables, _at_hand: object) -> None:
        if len(packet.body) > 12:
            raise ValueError("planted")

    monkeypatch.setattr(fuzzing, "decode", broken)
    figures = _fuzz()
    assert figures["passed"] is False
    crashes = figures["crashes"]
    assert isinstance(crashes, list)
    assert crashes[0].startswith("crash: ValueError: planted: 1")


def test_a_slow_payload_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SLOW_MS", 0.0)
    figures = _fuzz()
    assert figures["passed"] is False
    assert figures["slow"]


def test_typical_frames_follow_the_tables() -> None:
    rng = np.random.default_rng(0)
    frames = np.stack([typical(TABLES, rng) for _ in range(300)])
    assert frames.shape == (300, 6, 3)
    assert set(np.unique(frames)) == set(range(5))


def test_all_kinds_take_part() -> None:
    rng = np.random.default_rng(0)
    frames = [typical(TABLES, rng) for _ in range(16)]
    valid = payloads(frames, TABLES, b"ab", rng)
    assert {Kind(one.payload[0] & 15) for one in valid} == set(Kind)
    assert {one.context.key is None for one in valid} == {True, False}
    assert any(hostile(valid, rng).fits for _ in range(10))

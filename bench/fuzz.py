"""`aiflow bench fuzz`: hostile bytes against the wire format and the codec.

    valid payloads -> one bit flipped    -> unpack             none may be accepted
                   -> mutated, or random -> unpack -> decode   a message or a PayloadError, fast

Half of the mutated ones carry a trailer that fits, as an attacker could make it for a stream with
a CRC: only these reach the codec in numbers. Everything is decided by the seed, so that a payload
that does harm is found again.
"""

from __future__ import annotations

import resource
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from aiflow.bench.hostile import Hostile, Valid, at_hand, hostile, payloads, typical
from aiflow.common.bundle import Bundle
from aiflow.common.codec import Tables
from aiflow.common.errors import PayloadError
from aiflow.common.symbols import Decoded, decode
from aiflow.common.wire import Context, Header, Kind, unpack

SCENES: Final = 1000
FLIPS_A_SCENE: Final = 100
HOSTILE_A_SCENE: Final = 1000
SLOW_MS: Final = 10.0
GROWTH_LIMIT_BYTES: Final = 64 * 2**20
PEAK_LIMIT_BYTES: Final = 2**20
TRACED: Final = 2000
"""Payloads whose memory is traced one by one, which is slow."""
_AGAIN: Final = 3
"""A slow payload is read so often again; the machine may have been the slow one."""
_SHOWN: Final = 10
_REPORT_EVERY: Final = 100

Say = Callable[[str], None]


@dataclass(slots=True)
class Target:
    """What receives the bytes: everything that an edge node does before it captions."""

    tables: Tables
    references: tuple[Header, ...]
    frames: Mapping[int, Decoded]
    """That it remembers, by sequence; `references` are their headers."""
    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0
    unfit_accepted: int = 0

    def receive(self, payload: bytes, context: Context) -> str:
        """Read a payload; returns `accepted`, or why not."""
        try:
            packet = unpack(payload, context, self.references)
            if packet.kind not in {Kind.LOCAL, Kind.IMAGE}:
                decode(packet, self.tables, self.frames)
        except PayloadError as error:
            return error.reason
        except Exception as error:  # noqa: BLE001  finding these is what the fuzzer is for
            return f"crash: {type(error).__name__}: {error}"
        return "accepted"

    def attack(self, one: Hostile) -> None:
        """Read a payload and note what came of it, in CPU time of this thread."""
        payload, context = one.payload, one.context
        outcome, took_ms = self._timed(payload, context)
        if took_ms > SLOW_MS:
            took_ms = min(took_ms, *(self._timed(payload, context)[1] for _ in range(_AGAIN)))
        self.slowest_ms = max(self.slowest_ms, took_ms)
        if took_ms > SLOW_MS and len(self.slow) < _SHOWN:
            self.slow.append(payload.hex())
        if outcome.startswith("crash"):
            if len(self.crashes) < _SHOWN:
                self.crashes.append(f"{outcome}: {payload.hex()}")
            outcome = "crash"
        self.outcomes[outcome] += 1
        self.unfit_accepted += outcome == "accepted" and not one.fits

    @property
    def unharmed(self) -> bool:
        return not (self.crashes or self.slow)

    def figures(self) -> dict[str, object]:
        """What came of the attacks; the first payloads that did harm are named in hex."""
        return {
            "hostile_accepted_by_chance": self.unfit_accepted,
            "outcomes": dict(sorted(self.outcomes.items())),
            "crashes": self.crashes,
            "slow": self.slow,
            "slowest_ms": round(self.slowest_ms, 3),
        }

    def _timed(self, payload: bytes, context: Context) -> tuple[str, float]:
        began = time.thread_time()
        outcome = self.receive(payload, context)
        return outcome, (time.thread_time() - began) * 1000


def run(
    *, seed: int, plot: Path | None, say: Say, scenes: int | None = None
) -> Mapping[str, object]:
    """A hundred flips and a thousand hostile payloads for each of `scenes` (1,000) frames."""
    del plot
    bundle = Bundle.open("street")
    return fuzz(bundle.tables, bundle.tag, scenes or SCENES, seed, say)


def fuzz(tables: Tables, tag: bytes, scenes: int, seed: int, say: Say) -> dict[str, object]:
    """All figures; `passed` says whether every promise was kept."""
    rng = np.random.default_rng(seed)
    frames = [typical(tables, rng) for _ in range(scenes)]
    valid = payloads(frames, tables, tag, rng)
    target = Target(tables, *at_hand(frames, tables, tag))
    refused = sum(target.receive(one.payload, one.context) != "accepted" for one in valid)
    say(f"{len(valid)} valid payloads of {scenes} frames, {refused} refused")
    accepted_flips = flips(valid, target, FLIPS_A_SCENE * scenes, rng)
    say(f"{FLIPS_A_SCENE * scenes:,} single bits flipped, {accepted_flips} accepted")
    peak = traced_peak(valid, target, min(TRACED, HOSTILE_A_SCENE * scenes), rng)
    before = _resident_bytes()
    for round_ in range(scenes):
        for _ in range(HOSTILE_A_SCENE):
            target.attack(hostile(valid, rng))
        if (round_ + 1) % _REPORT_EVERY == 0:
            done = (round_ + 1) * HOSTILE_A_SCENE
            say(f"{done:,} hostile ones, slowest {target.slowest_ms:.2f} ms")
    growth = _resident_bytes() - before
    figures = {
        "scenes": scenes,
        "valid": len(valid),
        "valid_refused": refused,
        "flips": FLIPS_A_SCENE * scenes,
        "flips_accepted": accepted_flips,
        "hostile": HOSTILE_A_SCENE * scenes,
        **target.figures(),
        "peak_bytes": peak,
        "resident_growth_bytes": growth,
        "passed": target.unharmed
        and not (refused or accepted_flips)
        and peak <= PEAK_LIMIT_BYTES
        and growth <= GROWTH_LIMIT_BYTES,
    }
    for name, value in figures.items():
        say(f"{name:26} {value}")
    return figures


def flips(valid: list[Valid], target: Target, count: int, rng: np.random.Generator) -> int:
    """How many of `count` payloads with one bit wrong are accepted."""
    accepted = 0
    for number in range(count):
        one = valid[number % len(valid)]
        bit = int(rng.integers(8 * len(one.payload)))
        wrong = bytearray(one.payload)
        wrong[bit // 8] ^= 1 << bit % 8
        accepted += target.receive(bytes(wrong), one.context) == "accepted"
    return accepted


def traced_peak(valid: list[Valid], target: Target, count: int, rng: np.random.Generator) -> int:
    """The most bytes of memory that reading one payload took."""
    worst = 0
    tracemalloc.start()
    try:
        for _ in range(count):
            one = hostile(valid, rng)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            target.receive(one.payload, one.context)
            worst = max(worst, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return worst


def _resident_bytes() -> int:
    """The most memory that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

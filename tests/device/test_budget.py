from __future__ import annotations

import itertools
import random

import pytest

from aiflow.device.budget import BURST_S, STEP_S, Budget, Thrift

LAYERS = 2


class Camera:
    """A street: how many symbols change between two frames, and what a frame costs."""

    def __init__(self, seed: int, fps: float, liveliness: float) -> None:
        self._rng = random.Random(seed)
        self.fps = fps
        self._liveliness = liveliness
        self._changed = 0

    def changed(self) -> int:
        """Symbols that differ from the frame that was taken last."""
        if self._rng.random() < self._liveliness:
            self._changed += self._rng.randint(1, 6)
        return self._changed

    def cost(self, layers: int) -> int:
        changed, self._changed = self._changed, 0
        return 16 + min(changed, 8) * layers

    def run(self, budget: Budget, start: float, seconds: float) -> Run:
        run = Run(seconds)
        for index in itertools.count():
            now = start + index / self.fps
            if now >= start + seconds:
                return run
            if budget.allows(now) and self.changed() >= budget.thrift.symbols:
                layers = budget.thrift.layers
                budget.taken()
                run.add(now - start, self.cost(layers), layers)
                budget.sent(run.last)
        raise AssertionError


class Run:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.frames: list[tuple[float, int, int]] = []

    def add(self, at: float, cost: int, layers: int) -> None:
        self.frames.append((at, cost, layers))

    @property
    def last(self) -> int:
        return self.frames[-1][1]

    def bytes_s(self, after: float = 0.0) -> float:
        spent = sum(cost for at, cost, _ in self.frames if at >= after)
        return spent / (self.seconds - after)

    def layers(self) -> float:
        return sum(layers for *_, layers in self.frames) / len(self.frames)


def new_budget(bytes_s: float | None, symbols: int = 1) -> Budget:
    return Budget(bytes_s, layers=LAYERS, symbols=symbols, now=100.0)


def free_bytes_s(fps: float, liveliness: float) -> float:
    return Camera(1, fps, liveliness).run(new_budget(None), 100.0, 600.0).bytes_s()


@pytest.mark.parametrize("fps, liveliness", [(2.0, 0.3), (2.0, 1.0), (10.0, 0.5)])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8])
def test_a_budget_is_kept_and_used(fps: float, liveliness: float, share: float) -> None:
    bytes_s = share * free_bytes_s(fps, liveliness)
    run = Camera(1, fps, liveliness).run(new_budget(bytes_s), 100.0, 1200.0)
    assert run.bytes_s(after=BURST_S) <= 1.05 * bytes_s
    assert run.bytes_s(after=BURST_S) >= 0.9 * bytes_s
    # At no time was more spent than what had come in and one bucket, with one frame of leeway.
    spent = 0
    for at, cost, _ in run.frames:
        spent += cost
        assert spent <= bytes_s * (at + BURST_S) + 40


def test_a_budget_that_is_enough_changes_nothing() -> None:
    free = Camera(1, 2.0, 0.3).run(new_budget(None), 100.0, 300.0)
    kept = Camera(1, 2.0, 0.3).run(new_budget(2 * free.bytes_s()), 100.0, 300.0)
    assert kept.frames == free.frames


def test_thrift_drops_layers_first_then_small_changes_then_frames() -> None:
    budget = new_budget(10.0, symbols=3)
    now, steps = 100.0, []
    for _ in range(12):
        steps.append(budget.thrift)
        budget.spend(1000)
        now += STEP_S
        assert not budget.allows(now)
    assert steps[:8] == [
        Thrift(2, 3),
        Thrift(1, 3),
        Thrift(1, 6),
        Thrift(1, 12),
        Thrift(1, 24),
        Thrift(1, 48),
        Thrift(1, 48),
        Thrift(1, 48),
    ]
    assert budget.stats(now)["withheld"] == 12
    now += 10_000.0
    for _ in range(12):
        assert budget.allows(now)
        now += STEP_S
    assert budget.thrift == Thrift(2, 3)


def test_an_outage_is_paid_for_while_it_lasts() -> None:
    """Frames that wait are charged when taken: sending them at once afterwards is no debt."""
    budget, camera = new_budget(10.0), Camera(1, 2.0, 1.0)
    camera.run(budget, 100.0, 120.0)
    now, waiting = 220.0, []
    for _ in range(600):
        now += 0.5
        if budget.allows(now):
            budget.taken()
            waiting.append(20)
    assert len(waiting) <= 10.0 * (300 + BURST_S) / 16
    before = budget.stats(now)["budget_left"]
    for size in waiting:
        budget.sent(size)
    after = budget.stats(now)
    assert float(after["budget_left"]) == pytest.approx(float(before), abs=0.4)


def test_statistics_tell_what_is_spent_and_what_is_done() -> None:
    budget = new_budget(20.0)
    budget.taken()
    budget.sent(50)
    budget.spend(10)
    assert budget.stats(110.0) == {
        "bytes_s": 6.0,
        "budget_bytes_s": 20.0,
        "budget_left": 0.9,
        "layers": 2,
        "symbols": 1,
        "withheld": 0,
    }
    assert budget.stats(120.0)["bytes_s"] == 0.0
    free = new_budget(None)
    free.sent(50)
    assert free.stats(110.0) == {"bytes_s": 5.0}


def test_a_clock_that_stands_still_fills_nothing() -> None:
    budget = new_budget(1.0)
    budget.spend(1000)
    for _ in range(1000):
        assert not budget.allows(100.0)

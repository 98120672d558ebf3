"""The footprint of a device: what the kernel tells, and one short run with real processes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from aiflow.bench import device, device_rig, device_size
from aiflow.bench.device_page import table
from aiflow.bench.device_rig import (
    Told,
    Window,
    children_of,
    cpu_seconds,
    proportional_mb,
)
from aiflow.common.errors import AiflowError
from aiflow.common.messages import DeviceStats

STAGES = {"capture", "gate", "encode", "compress", "publish"}


def told(
    uptime_s: float, looked_at: int, replaced: int = 0, gate_ms: float = 0.5, cpu_s: float = 0.0
) -> Told:
    counted = {"looked_at": looked_at, "captured": looked_at + replaced, "replaced": replaced}
    stats = DeviceStats(
        device="footprint",
        timestamp=1000.0 + uptime_s,
        uptime_s=uptime_s,
        software="aiflow",
        cameras={"street": {**counted, "gate_ms": gate_ms}},
    )
    return Told(stats, (cpu_s, 2 * cpu_s))


@pytest.mark.parametrize(
    "looked_at, replaced, held", [(160, 2, True), (158, 2, True), (160, 3, False), (150, 2, False)]
)
def test_a_rate_is_held_when_no_frame_is_left_out(
    looked_at: int, replaced: int, *, held: bool
) -> None:
    window = Window((told(10.0, 100, 2), told(16.0, looked_at, replaced)))
    assert device.holds(window, 10.0) is held


def test_a_window_counts_from_its_first_statistics_on() -> None:
    window = Window((told(5, 10, cpu_s=1), told(10, 20, gate_ms=1), told(15, 50, cpu_s=3)))
    assert window.frames == range(10, 50)
    assert window.seconds == 10
    assert sum(window.cpu_s) == 6
    assert window.mean_ms("gate") == pytest.approx((10 * 1.0 + 30 * 0.5) / 40)
    assert window.mean_ms("encode") == 0, "a stage that was not measured took no time"


def test_the_kernel_tells_of_this_process() -> None:
    before, began = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - began < 0.05:
        pass
    assert cpu_seconds(os.getpid()) - before >= 0.05
    assert 5 < proportional_mb(os.getpid()) < 10_000
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        assert cat.pid in children_of(os.getpid())
    assert cat.pid not in children_of(os.getpid())
    with pytest.raises(AiflowError, match=f"process {cat.pid} has ended"):
        cpu_seconds(cat.pid)


def run_that_holds(limit: float, tried: list[float], fps: float) -> device.Run:
    tried.append(fps)
    came = round(10 * min(fps, limit))
    window = Window((told(5, 0), told(15, came)))
    return device.Run("synthetic:street", fps, 0, (0.5, 0.4), window, {"daemon": 1, "camera": 1})


@pytest.mark.parametrize("limit, trials, held", [(100, 1, True), (55, 4, True), (1, 5, False)])
def test_the_rate_is_lowered_until_it_is_held(
    monkeypatch: pytest.MonkeyPatch, limit: float, trials: int, *, held: bool
) -> None:
    tried: list[float] = []
    monkeypatch.setattr(device, "greatest_fps", lambda _uri, _core: 100.0)
    monkeypatch.setattr(device, "work", lambda _uri, fps, *_: run_that_holds(limit, tried, fps))
    found = device.greatest("synthetic:street", 0, 10.0, lambda _text: None)
    assert tried == pytest.approx([100 * device.STEP**one for one in range(1, trials + 1)])
    assert found.fps == tried[-1]
    assert device.holds(found.window, found.fps) is held


def test_no_rate_is_tried_that_cannot_be_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []
    monkeypatch.setattr(device, "greatest_fps", lambda _uri, _core: 1000.0)
    monkeypatch.setattr(device, "work", lambda _uri, fps, *_: run_that_holds(1000, tried, fps))
    device.greatest("synthetic:street", 0, 10.0, lambda _text: None)
    assert tried == [device.MAX_FPS]


def test_a_package_weighs_what_its_files_do(tmp_path: Path) -> None:
    for name, size in {
        "__init__.py": 1000,
        "README.md": 50_000,
        "inner/__init__.py": 200_000,
        "inner/data/model.onnx": 700_000,
        "tests/test_inner.py": 80_000,
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(size))
    assert device_size.package_mb(tmp_path) == 0.901


def test_the_extra_needs_its_own_packages_and_no_others() -> None:
    sizes = device_size.installed_mb()
    assert {"aiflow-edge", "numpy", "onnxruntime", "prometheus-client"} <= set(sizes)
    assert not {"torch", "starlette", "pytest", "matplotlib"} & set(sizes)
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
    assert sizes["numpy"] > 10


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_size, "PACKAGE", "aiflow-of-another-world")
    with pytest.raises(AiflowError, match="aiflow-of-another-world is not installed"):
        device_size.installed_mb()


def test_a_short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "STARTS", 1)
    monkeypatch.setattr(device, "TRIES", 1)
    monkeypatch.setattr(device, "JPEGS", 3)
    monkeypatch.setattr(device_rig, "STATS_S", 1.0)
    monkeypatch.setattr(device, "greatest_fps", lambda _uri, _core: 5.0)
    said: list[str] = []
    figures = device.run(seed=3, plot=None, say=said.append, scenes=1)
    for one, fps in ((figures, 2.0), (figures["one_core"], 5.0 * device.STEP)):
        for run in (one, figures["jpegs"] if one is figures else figures["jpegs"]["one_core"]):
            assert run["fps"] == fps
            assert run["frames"] > 0
            assert 0 < run["cold_start_s"] <= run["cold_start_worst_s"]
            assert run["cold_start_cpu_s"] > 0
            assert 20 < run["rss_mb"] < 1000
            assert set(run["rss_parts_mb"]) == {"daemon", "camera"}
            assert run["frame_cpu_ms"] == pytest.approx(
                sum(run["frame_cpu_parts_ms"].values()), abs=0.002
            )
            assert set(run["bare_cpu_ms"]) == {"decode", "encode"}
            assert all(each > 0 for each in run["bare_cpu_ms"].values())
            assert run["frame_cpu_ratio"] == pytest.approx(
                run["frame_cpu_ms"] / sum(run["bare_cpu_ms"].values()), abs=0.01
            )
            assert isinstance(run["held"], bool)
            assert set(run["frame_ms"]) == STAGES
            assert all(mean > 0 for mean in run["frame_ms"].values())
    assert figures["install_mb"] > 100
    assert table(figures) in said[-1]
    assert "| memory, MB (one core)" in said[-1]

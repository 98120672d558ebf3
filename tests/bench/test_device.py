"""The footprint of a device: what the kernel tells, and one short run with real processes."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

import aiflow
from aiflow.bench import device
from aiflow.bench.device_rig import Told, children_of, cpu_seconds, proportional_mb
from aiflow.common.messages import DeviceStats


def told(uptime_s: float, looked_at: int, replaced: int) -> Told:
    stats = DeviceStats(
        device="footprint",
        timestamp=1000.0 + uptime_s,
        uptime_s=uptime_s,
        software="aiflow",
        cameras={"street": {"looked_at": looked_at, "replaced": replaced, "gate_ms": 0.5}},
    )
    return Told(stats, 0.0)


@pytest.mark.parametrize(
    "looked_at, replaced, held", [(160, 2, True), (158, 2, True), (160, 3, False), (150, 2, False)]
)
def test_a_rate_is_held_when_no_frame_is_left_out(
    looked_at: int, replaced: int, *, held: bool
) -> None:
    first = told(10.0, 100, 2)
    assert device.holds(first, told(16.0, looked_at, replaced), 10.0) is held


def test_a_stage_that_was_not_measured_took_no_time() -> None:
    assert told(1.0, 1, 0).mean_ms("gate") == 0.5
    assert told(1.0, 1, 0).mean_ms("encode") == 0


def test_the_kernel_tells_of_this_process() -> None:
    before, began = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - began < 0.1:
        pass
    assert 0.05 < cpu_seconds(os.getpid()) - before < 5
    assert 5 < proportional_mb(os.getpid()) < 10_000
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        assert cat.pid in children_of(os.getpid())
    assert cat.pid not in children_of(os.getpid())


def test_a_rate_that_is_lost_in_the_window_is_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "greatest_rate", lambda _seed, _core, _say: 20.0)
    tried: list[float] = []

    def observe(_seed: int, fps: float, *_: object) -> dict[str, object]:
        tried.append(fps)
        return {"fps": fps, "held": fps < 16}

    monkeypatch.setattr(device, "observe", observe)
    found = device.observe_greatest(0, 0, 2.0, lambda _text: None)
    assert found["held"]
    assert found["fps"] == pytest.approx(20 / device.STEP**2)
    assert len(tried) == 3


def test_a_folder_weighs_what_its_files_do(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "one").write_bytes(bytes(1_500_000))
    (tmp_path / "two").write_bytes(bytes(500_000))
    assert device.folder_mb(tmp_path) == 2


def test_without_an_index_the_size_is_left_out_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = device.install_mb(lambda _text: None)
    assert found["install_mb"] is None
    checkout = (Path(aiflow.__file__).parent / "setup.cfg").is_file()
    assert ("pip failed" if checkout else "measure in a checkout") in found["install_why"]


def test_a_short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "STARTS", 1)
    monkeypatch.setattr(device, "TRIES", 1)
    monkeypatch.setattr(device, "greatest_rate", lambda _seed, _core, _say: 4.0)
    monkeypatch.setattr(
        device, "install_mb", lambda _say: {"install_mb": None, "install_why": "too slow"}
    )
    said: list[str] = []
    figures = device.run(seed=3, plot=None, say=said.append, scenes=1)
    for one, fps in ((figures, 2.0), (figures["one_core"], 4.0)):
        assert 0 < one["fps"] <= fps
        assert one["frames"] > 0
        assert one["cold_start_s"] > 0
        assert 20 < one["rss_mb"] < 1000
        assert set(one["rss_parts_mb"]) == {"daemon", "camera"}
        assert one["frame_cpu_ms"] > 0
        assert set(one["bare_cpu_ms"]) == {"render", "encode"}
        assert all(each > 0 for each in one["bare_cpu_ms"].values())
        assert one["frame_cpu_ratio"] > 0
        assert isinstance(one["held"], bool)
        assert set(one["frame_ms"]) == {"capture", "gate", "encode", "compress", "publish"}
        assert all(mean > 0 for mean in one["frame_ms"].values())
    assert "installed: not measured: too slow" in said[-1]
    assert "| memory, MB (one core)" in said[-1]

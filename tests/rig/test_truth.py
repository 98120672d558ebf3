from __future__ import annotations

import json
from pathlib import Path

from aiflow.rig.truth import TruthFile


def line(timestamp_ms: int, jpeg_bytes: int = 30_000) -> str:
    facts = [["time", "night"], ["kind", "near-left", "bus"]]
    return json.dumps({"timestamp_ms": timestamp_ms, "facts": facts, "jpeg_bytes": jpeg_bytes})


def test_a_frame_is_found_by_its_capture_time(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(f"{line(1_700_000_000_000)}\n{line(1_700_000_000_333, 31_000)}\n")
    truth = TruthFile(path).at(1_700_000_000.333)
    assert truth is not None
    assert truth.jpeg_bytes == 31_000
    assert truth.facts == {("time", "night"), ("kind", "near-left", "bus")}


def test_times_may_differ_by_rounding_to_milliseconds_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    path.write_text(f"{line(1_000)}\n")
    truth = TruthFile(path)
    assert truth.at(1.002) is not None
    assert truth.at(0.9984) is not None
    assert truth.at(1.010) is None


def test_the_file_may_come_later_grow_and_end_within_a_line(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    truth = TruthFile(path)
    assert truth.at(1.0) is None
    path.write_text(f"{line(1_000)}\n{line(2_000)[:20]}")
    assert truth.at(1.0) is not None
    assert truth.at(2.0) is None
    path.write_text(f"{line(1_000)}\n{line(2_000)}\n")
    assert truth.at(2.0) is not None

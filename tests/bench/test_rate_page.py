from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiflow.bench.rate_page import NAMES, draw, goals, table


def _point(size: float, share: float) -> dict[str, Any]:
    return {
        "setting": f"{size:g} bytes",
        "bytes_mean": size,
        "bare_bytes_mean": size,
        "cider": 5 * share,
        "fact_f1": share,
        "cider_share": share,
        "equal_quality": share >= 0.99,
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    families = {name: [_point(100 * n, 0.9 + n / 40) for n in range(1, 5)] for name in NAMES}
    return {
        "scene_entropy_bits": 45.9,
        "uncompressed": {"cider": 5.0, "fact_f1": 0.98},
        "key": {"payload_bytes_mean": 22.5, "socket_bytes_mean": 43.0, "cider": 4.96,
                "fact_f1": 0.975, "body_bits_mean": 77.0},
        "stream": {"payload_bytes_mean": 11.0, "socket_bytes_mean": 40.0, "fact_f1": 0.97,
                   "fps": 2.0},
        "camera_jpeg": {"bytes_mean": 28_000.0, "quality": 75},
        "ratio": {"best_image": 40.0, "tofc": 5.9, "camera_jpeg": 1200.0, "floor": 1.7},
        "codec_ms_p95": 0.4,
        "baselines": {"webp": _point(900, 0.995), "tofc": _point(600, 0.97)},
        "by_facts": {"bytes_mean": {"webp": 700.0}, "ratio": {}},
        "curves": families,
    }  # fmt: skip


def test_goals_are_reached_or_missed(figures: dict[str, Any]) -> None:
    missed = [goal.what for goal in goals(figures) if not goal.reached]
    assert missed == [
        "merged tokens (TOFC), times our bytes",
        "socket beyond payload, bytes a stream frame",
    ]


def test_the_table_is_markdown(figures: dict[str, Any]) -> None:
    lines = table(figures).splitlines()
    first = lines[: lines.index("")]
    assert {line.count("|") for line in first} == {7}
    assert len({len(line) for line in first}) == 1
    assert any("WebP" in line and "below" not in line for line in first)
    assert any("TOFC" in line and "below equal quality" in line for line in first)


def test_the_picture_is_drawn(figures: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra bench")
    path = draw(figures, tmp_path / "images")
    assert path.read_bytes().startswith(b"\x89PNG")

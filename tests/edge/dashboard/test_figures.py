from __future__ import annotations

from typing import Any

from aiflow.edge.dashboard.figures import STEP_S, STEPS, Figures


def read(figures: Figures, now: float) -> dict[str, Any]:
    return figures.to_json(now)


def test_frames_are_counted_and_compared_only_where_the_jpeg_is_known() -> None:
    figures = Figures()
    figures.frame(100.0, 30, 30_000, 0.02)
    figures.frame(101.0, 50, None, 0.03)
    total = {"frames": 2, "uplink": 80, "jpeg": 30_000, "beside_jpeg": 30}
    assert read(figures, 101.0)["total"] == total
    assert read(figures, 101.0)["minute"] == total


def test_more_bytes_of_a_frame_make_no_more_frames() -> None:
    figures = Figures()
    figures.frame(0.0, 30, None, None)
    figures.more(0.0, 12)
    assert read(figures, 0.0)["total"] == {"frames": 1, "uplink": 42, "jpeg": 0, "beside_jpeg": 0}


def test_a_minute_slides() -> None:
    figures = Figures()
    figures.frame(0.0, 100, None, None)
    assert read(figures, 59.0)["minute"]["uplink"] == 100
    assert read(figures, 65.0)["minute"]["uplink"] == 50  # half of its step is still in the minute
    assert read(figures, 75.0)["minute"]["uplink"] == 0
    assert read(figures, 75.0)["total"]["uplink"] == 100


def test_series_end_with_the_present_and_leave_gaps() -> None:
    figures = Figures()
    figures.frame(0.0, 10, None, 0.020)
    figures.frame(1.0, 10, None, 0.030)
    figures.frame(1.0, 10, None, 0.100)
    figures.frame(3 * STEP_S, 7, None, None)
    shown = read(figures, 4 * STEP_S)
    assert shown["bytes"][-5:] == [30, 0, 0, 7, 0]
    assert shown["latency_ms"][-5:] == [30.0, None, None, None, None]
    assert len(shown["bytes"]) == len(shown["latency_ms"]) == STEPS


def test_what_is_kept_is_bounded() -> None:
    figures = Figures()
    for n in range(5_000):
        figures.frame(n * STEP_S / 4, 1, None, 0.01)
    assert len(figures._steps) == STEPS
    assert read(figures, 5_000 * STEP_S / 4)["total"]["frames"] == 5_000

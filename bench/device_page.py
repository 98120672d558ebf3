"""The figures of `aiflow bench device` for people: tables in Markdown, as in docs/figures.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiflow.bench.device_rig import STAGES
from aiflow.bench.tables import Goal, goal_table, markdown

LEAST_MB: Final = 2.0
"""Smaller packages are told in one row."""


def table(figures: Mapping[str, Any]) -> str:
    """Disk, what was measured in each run, and the goals."""
    return "\n\n".join([_sizes(figures), _runs(figures), goal_table(goals(figures))])


def goals(figures: Mapping[str, Any]) -> list[Goal]:
    """What a device was built to cost at most, and what it does."""
    street = [("two a second", figures), ("one core", figures["one_core"])]
    jpegs = [("JPEGs, " + where, one) for where, one in _both(figures["jpegs"])]
    return [
        *(Goal(f"cold start, s ({where})", "≤", 2.0, one["cold_start_s"]) for where, one in street),
        *(Goal(f"memory, MB ({where})", "≤", 160, one["rss_mb"]) for where, one in street),
        *(
            Goal(f"CPU time over the bare loop's ({where})", "≤", 1.3, one["frame_cpu_ratio"])
            for where, one in [*(("street, " + where, one) for where, one in street), *jpegs]
        ),
    ]


def _both(one: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [("two a second", one), ("one core", one["one_core"])]


def _sizes(figures: Mapping[str, Any]) -> str:
    parts = figures["install_parts_mb"]
    large = {name: size for name, size in parts.items() if size >= LEAST_MB}
    rows = [("package", "MB"), *((name, f"{size:.1f}") for name, size in large.items())]
    rest = len(parts) - len(large)
    rows.append((f"{rest} smaller ones", f"{sum(parts.values()) - sum(large.values()):.1f}"))
    rows.append(("**together**", f"**{figures['install_mb']:.1f}**"))
    return markdown(rows)


def _runs(figures: Mapping[str, Any]) -> str:
    runs = [
        (source, one)
        for source, both in (("street", figures), ("JPEGs", figures["jpegs"]))
        for _, one in _both(both)
    ]
    rows = [
        ("", *(f"{source}, {one['fps']:.3g} a second" for source, one in runs)),
        ("cores", *("one" if index % 2 else "any" for index in range(len(runs)))),
        ("held", *("yes" if one["held"] else "no" for _, one in runs)),
        ("cold start, s", *(f"{one['cold_start_s']:.2f}" for _, one in runs)),
        ("the slowest of them", *(f"{one['cold_start_worst_s']:.2f}" for _, one in runs)),
        ("CPU time of it, s", *(f"{one['cold_start_cpu_s']:.2f}" for _, one in runs)),
        ("memory, MB", *(f"{one['rss_mb']:.0f}" for _, one in runs)),
        ("CPU time a frame, ms", *(f"{one['frame_cpu_ms']:.2f}" for _, one in runs)),
    ]
    for key, names in (
        ("frame_cpu_parts_ms", {"daemon": "of that the daemon", "camera": "the camera's process"}),
        ("bare_cpu_ms", {"decode": "bare: rendering, decoding", "encode": "bare: encoding"}),
    ):
        for part, name in names.items():
            rows.append((f"{name}, ms", *(f"{one[key][part]:.2f}" for _, one in runs)))
    rows.append(("**ratio**", *(f"**{one['frame_cpu_ratio']:.2f}**" for _, one in runs)))
    rows.extend(
        (f"{stage}, ms", *(f"{one['frame_ms'][stage]:.2f}" for _, one in runs)) for stage in STAGES
    )
    return markdown(rows)

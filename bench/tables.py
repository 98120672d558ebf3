"""Figures as Markdown tables, and the goals that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is to be at least, or at most, so much."""

    what: str
    sign: Literal["≥", "≤"]
    limit: float
    value: float

    @property
    def reached(self) -> bool:
        return self.value >= self.limit if self.sign == "≥" else self.value <= self.limit


def goal_table(goals: Sequence[Goal]) -> str:
    """Each figure beside its goal, and whether it was reached."""
    rows = [("figure", "goal", "measured", "")]
    for goal in goals:
        verdict = "reached" if goal.reached else "missed"
        rows.append((goal.what, f"{goal.sign} {_short(goal.limit)}", _short(goal.value), verdict))
    return markdown(rows)


def number(value: float) -> str:
    """A mean of bytes: whole from a hundred on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _short(value: float) -> str:
    return number(value) if value >= 100 else f"{value:.3g}"

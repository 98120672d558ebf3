"""Reads facts out of a caption: the exact inverse of the writer, and lenient with the rest."""

from __future__ import annotations

from aiflow.street.grammar.phrases import INVENTORY, STATIC
from aiflow.street.scene import COLUMNS, Fact

_GLOBALS = ("time", "weather", "setting")
_ATTRIBUTES = ("kind", "colour", "motion", "count")


def parse(text: str) -> frozenset[Fact]:
    """The facts that a caption states. Never raises: what makes no sense states nothing.

    A thing whose place is not said, or is said relative to nothing, states nothing either.
    """
    return _Reader().read(text)


class _Reader:
    """Collects the clause at hand, and turns it into facts when it ends."""

    def __init__(self) -> None:
        self._facts: set[Fact] = set()
        self._clause: dict[str, str] = {}
        self._last_cell: str | None = None

    def read(self, text: str) -> frozenset[Fact]:
        for phrase in INVENTORY.split(text):
            for slot, value in INVENTORY.meanings[phrase]:
                self._take(slot, value)
        self._finish()
        return frozenset(self._facts)

    def _take(self, slot: str, value: str) -> None:
        if slot in _GLOBALS:
            self._facts.add((slot, value))
        elif slot == "break":
            self._finish()
        else:
            if slot in ("count", "colour", "kind") and "kind" in self._clause:
                self._finish()  # a joint is missing
            self._clause.setdefault(slot, value)

    def _finish(self) -> None:
        clause, self._clause = self._clause, {}
        if not any(slot in clause for slot in _ATTRIBUTES):
            return
        if clause.get("kind") in STATIC:
            clause.setdefault("motion", "still")
        cell = clause.get("cell") or _resolve(clause.get("relation"), self._last_cell)
        if "kind" in clause:
            self._last_cell = cell
        if cell:
            self._facts.update((a, cell, clause[a]) for a in _ATTRIBUTES if a in clause)


def _resolve(relation: str | None, cell: str | None) -> str | None:
    """The cell that lies in this relation to another, if there is one."""
    if relation is None or cell is None:
        return None
    distance, column = cell.split("-")
    if relation == "behind":
        return f"far-{column}" if distance == "near" else None
    if relation == "before":
        return f"near-{column}" if distance == "far" else None
    index = COLUMNS.index(column) + (1 if relation == "right" else -1)
    return f"{distance}-{COLUMNS[index]}" if 0 <= index < len(COLUMNS) else None

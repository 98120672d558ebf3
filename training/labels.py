"""Scene facts as integer targets: what the encoder is supervised by.

A scene becomes three global classes and, for each cell of the street, five
classes of the thing that stands there. An empty cell has kind 0, and its other
classes are masked out of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aiflow.street.scene import MOTIONS, Cell, Scene
from aiflow.street.world import World

IGNORED = -1
"""The target of an attribute that an empty cell does not have."""

CELL_ATTRIBUTES = ("kind", "colour", "motion", "count")


@dataclass(frozen=True, slots=True)
class LabelSpace:
    """The classes of every attribute of one world."""

    cells: tuple[Cell, ...]
    global_values: tuple[tuple[str, ...], ...]
    cell_values: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, world: World) -> LabelSpace:
        """Derive the label space; cells are ordered by importance: near first, middle first."""
        highest = max(len(kind.counts) for kind in world.kinds)
        middle_first = sorted(range(len(world.columns)), key=lambda column: column != 1)
        return cls(
            cells=tuple((d, world.columns[c]) for d in world.distances for c in middle_first),
            global_values=tuple(
                tuple(name for name, _ in table)
                for table in (world.times, world.weathers, world.settings)
            ),
            cell_values=(
                ("nothing", *(kind.name for kind in world.kinds)),
                world.colours,
                MOTIONS,
                tuple(str(n) for n in range(1, highest + 1)),
            ),
        )

    @property
    def global_sizes(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.global_values)

    @property
    def cell_sizes(self) -> tuple[int, ...]:
        return tuple(len(values) for values in self.cell_values)

    def encode(self, scene: Scene) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Return the targets: globals int16 (3,) and cells int16 (6, 4)."""
        scene_globals = np.array(
            [
                values.index(value)
                for values, value in zip(
                    self.global_values, (scene.time, scene.weather, scene.setting), strict=True
                )
            ],
            dtype=np.int16,
        )
        cells = np.full((len(self.cells), len(CELL_ATTRIBUTES)), IGNORED, dtype=np.int16)
        cells[:, 0] = 0
        for thing in scene.things:
            row = self.cells.index((thing.distance, thing.column))
            values = (thing.kind, thing.colour, thing.motion, str(thing.count))
            for column, (names, value) in enumerate(zip(self.cell_values, values, strict=True)):
                cells[row, column] = names.index(value)
        return scene_globals, cells

"""Where things stand in the picture. Lengths are in picture widths; a picture is 1 x 0.75.

Columns are thirds of the picture at both distances. Far things are smaller and stand higher.
"""

from __future__ import annotations

from aiflow.street.scene import COLUMNS, Cell

HEIGHT = 0.75
GROUND = {"near": 0.695, "far": 0.483}
"""y of the feet and wheels, from the top."""
SCALE = {"near": 1.0, "far": 0.6}
SPACING_COLUMNS = 0.75
"""Least distance between the centres of neighbours in one lane."""
WIDTHS = {
    "car": 0.235,
    "van": 0.24,
    "bus": 0.3,
    "truck": 0.3,
    "tram": 0.32,
    "tractor": 0.19,
    "motorcycle": 0.16,
    "cyclist": 0.15,
    "pedestrian": 0.085,
    "child": 0.08,
    "dog": 0.13,
    "horse": 0.19,
    "robot": 0.105,
    "bench": 0.2,
    "kiosk": 0.17,
    "tent": 0.23,
}
"""Width of one member near by."""
_GROUP_SPAN = 0.31


def member_scale(kind: str, count: int, distance: str) -> float:
    """Size of each member of a group, relative to near ones that stand alone."""
    width = WIDTHS[kind] * SCALE[distance]
    return SCALE[distance] * min(1.0 if count == 1 else 0.95, _GROUP_SPAN / (count * width))


def member_offsets(kind: str, count: int, distance: str) -> tuple[float, ...]:
    """x of each member's centre from the group's centre, left to right."""
    step = WIDTHS[kind] * member_scale(kind, count, distance)
    return tuple((i - (count - 1) / 2) * step for i in range(count))


def cell_at(x_columns: float, distance: str) -> Cell | None:
    """The cell in which a thing's centre lies; None outside the picture."""
    if not 0 <= x_columns < len(COLUMNS):
        return None
    return distance, COLUMNS[int(x_columns)]

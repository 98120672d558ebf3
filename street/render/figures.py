"""Which figure shows a kind: still, or moving at some phase of its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiflow.street.render import fixtures, people, vehicles
from aiflow.street.render.shapes import Figure, Part, figure

PHASES = 8
"""Steps of a walking cycle that are drawn."""


@dataclass(frozen=True, slots=True)
class Looks:
    """A kind's figures and what goes with them."""

    still: Figure
    moving: tuple[Figure, ...]
    """PHASES figures, or one, or none."""
    wheels: tuple[float, ...] = ()
    """x of the wheels, where chocks lie when parked and dust flies when moving."""
    lamp: tuple[float, float] | None = None
    """Where the headlight sits."""

    def figure(self, motion: str, phase: float) -> Figure:
        """The figure for a motion; `phase` is in 0..1."""
        if motion == "still" or not self.moving:
            return self.still
        return self.moving[int(phase * len(self.moving)) % len(self.moving)]


def _walker(still: Callable[[], list[Part]], moving: Callable[[float], list[Part]]) -> Looks:
    return Looks(figure(still()), tuple(figure(moving(i / PHASES)) for i in range(PHASES)))


def _vehicle(
    parts: Callable[[], list[Part]],
    wheels: tuple[float, ...],
    lamp: tuple[float, float],
    moving: Callable[[], list[Part]] | None = None,
) -> Looks:
    return Looks(figure(parts()), (figure((moving or parts)()),), wheels, lamp)


def looks() -> Mapping[str, Looks]:
    """All kinds. Build it once: it makes some sixty figures."""
    return {
        "car": _vehicle(vehicles.car, (-6.8, 6.8), (10.9, 4.4)),
        "van": _vehicle(vehicles.van, (-7.4, 7.4), (11.4, 4.8)),
        "bus": _vehicle(vehicles.bus, (-9.0, 6.6), (14.3, 4.4)),
        "truck": _vehicle(vehicles.truck, (-11.0, 10.8), (14.4, 4.4)),
        "tram": _vehicle(vehicles.tram, (-8.5, 8.5), (15.4, 4.2)),
        "tractor": _vehicle(vehicles.tractor, (-4.4, 6.8), (9.0, 7.4)),
        "motorcycle": _vehicle(
            vehicles.motorcycle_parked, (-5.2, 5.4), (5.2, 7.0), vehicles.motorcycle_ridden
        ),
        "cyclist": _walker(people.cyclist_waiting, people.cyclist_riding),
        "pedestrian": _walker(people.pedestrian_standing, people.pedestrian_walking),
        "child": _walker(people.child_standing, people.child_walking),
        "dog": _walker(people.dog_sitting, people.dog_running),
        "horse": _walker(people.horse_grazing, people.horse_galloping),
        "robot": _walker(people.robot_standing, people.robot_walking),
        "bench": Looks(figure(fixtures.bench()), ()),
        "kiosk": Looks(figure(fixtures.kiosk()), ()),
        "tent": Looks(figure(fixtures.tent()), ()),
    }

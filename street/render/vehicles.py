"""Figures of the vehicles. Parked and moving ones differ by lights; see `figures`."""

from __future__ import annotations

from aiflow.street.render.canvas import Points
from aiflow.street.render.shapes import Part, box, disc, limb, polygon, round_box


def _wheels(radius: float, *xs: float) -> list[Part]:
    return [
        ("tyre", [disc(x, radius, radius) for x in xs]),
        ("metal", [disc(x, radius, radius * 0.45, 10) for x in xs]),
    ]


def car() -> list[Part]:
    """Low, with bonnet and boot."""
    body = polygon(
        *(-11.2, 2, 11.4, 2, 11.6, 4.2, 10.8, 5.4, 5.6, 6.0, 2.6, 9.6, -5.2, 9.6),
        *(-8.6, 6.2, -11.2, 5.8),
    )
    return [
        ("body", [body]),
        ("glass", [polygon(-7.2, 6.3, -4.7, 8.8, -1.7, 8.8, -1.7, 6.3),
                   polygon(-0.9, 6.3, -0.9, 8.8, 2.2, 8.8, 4.2, 6.3)]),
        ("dim", [box(-10.9, 2.2, 11.2, 3.1)]),
        *_wheels(2.5, -6.8, 6.8),
    ]  # fmt: skip


def van() -> list[Part]:
    """A tall closed box with a short sloping nose; one window in front."""
    body = polygon(-11.8, 1.9, 11.8, 1.9, 11.9, 5.6, 10.6, 7.2, 7.2, 12.6, -11.4, 12.6, -11.8, 12)
    return [
        ("body", [body]),
        ("glass", [polygon(3.6, 7.2, 9.6, 7.2, 6.8, 11.6, 3.6, 11.6)]),
        ("dim", [box(-11.5, 2.1, 11.4, 3.2), box(2.3, 3.2, 2.7, 12.2)]),
        *_wheels(2.5, -7.4, 7.4),
    ]


def bus() -> list[Part]:
    """Long, with a row of windows."""
    windows = [box(x, 7.4, x + 3.7, 12.0) for x in (-13.6, -9.2, -4.8, -0.4, 4.0)]
    return [
        ("body", [round_box(-14.8, 1.8, 14.8, 14.6, 0.9)]),
        ("glass", [*windows, polygon(9.6, 2.6, 12.0, 2.6, 12.0, 12.2, 9.6, 12.2),
                   polygon(12.8, 6.8, 14.7, 6.8, 14.7, 12.8, 12.8, 12.8)]),
        ("dim", [box(-14.5, 2.0, 9.2, 3.2)]),
        *_wheels(2.5, -9.0, 6.6),
    ]  # fmt: skip


def truck() -> list[Part]:
    """A closed cargo box, a gap, and a lower cab."""
    cab = polygon(7.4, 1.9, 14.8, 1.9, 14.9, 5.8, 13.6, 10.6, 7.4, 10.6)
    return [
        ("tyre", [box(-14.2, 2.2, 12, 3.6)]),
        ("body", [box(-14.8, 3.8, 6.2, 15.2)]),
        ("dim", [box(-8.0, 4.4, -7.5, 14.6), box(-1.2, 4.4, -0.7, 14.6)]),
        ("body", [cab]),
        ("glass", [polygon(10.0, 6.2, 14.2, 6.2, 13.2, 9.8, 10.0, 9.8)]),
        *_wheels(2.6, -11.0, -5.2, 10.8),
    ]


def tram() -> list[Part]:
    """Two sloping ends, low skirts, and a pantograph at the wire."""
    hull = polygon(-16, 4, -15.2, 1.2, 15.2, 1.2, 16, 4, 14.2, 13.2, -14.2, 13.2)
    windows = [box(x, 7, x + 4.4, 11.4) for x in (-10.8, -5.6, 1.2, 6.4)]
    ends = [
        polygon(-15.0, 7, -12.4, 7, -12.4, 11.6, -14.0, 11.6),
        polygon(12.4, 7, 15.0, 7, 14.0, 11.6, 12.4, 11.6),
    ]
    return [
        ("metal", [limb(-16.5, 19.2, 16.5, 19.2, 0.35)]),
        ("tyre", [limb(-3.4, 14.2, 1.0, 16.6, 0.7), limb(1.0, 16.4, -2.2, 19.2, 0.7),
                  box(-5.2, 18.9, 1.2, 19.5)]),
        ("tyre", [box(-12, 0, -5, 1.4), box(5, 0, 12, 1.4)]),
        ("body", [hull]),
        ("dim", [box(-15.4, 1.6, 15.4, 3.2)]),
        ("glass", [*windows, *ends]),
        ("tyre", [box(-0.5, 1.6, 0.5, 13.0)]),
        ("dim", [box(-8, 13.4, 8, 14.3)]),
    ]  # fmt: skip


def tractor() -> list[Part]:
    """One huge wheel, one small, a bonnet with a chimney, a cab."""
    return [
        ("tyre", [limb(5.6, 8, 5.6, 13, 0.9)]),
        ("body", [polygon(-2.4, 3.6, 9.0, 3.6, 9.3, 8.6, 1.6, 9.2, -2.4, 9.2)]),
        ("glass", [polygon(-6.0, 7.6, 1.4, 7.6, 0.6, 14.4, -5.4, 14.4)]),
        ("body", [box(-6.8, 14.2, 1.6, 15.7), limb(-5.7, 8, -5.4, 14.4, 0.9)]),
        ("tyre", [disc(-4.4, 4.9, 4.9, 18)]),
        ("body", [disc(-4.4, 4.9, 2.6, 12)]),
        ("tyre", [disc(6.8, 2.7, 2.7)]),
        ("body", [disc(6.8, 2.7, 1.3, 10)]),
    ]


def _motorcycle_frame() -> list[Part]:
    return [
        ("tyre", [disc(-5.2, 2.8, 2.8), disc(5.4, 2.8, 2.8)]),
        ("metal", [disc(-5.2, 2.8, 1.2, 10), disc(5.4, 2.8, 1.2, 10)]),
        ("metal", [limb(5.4, 2.8, 3.4, 9.0, 0.8), box(-2.4, 2.0, 2.4, 3.8)]),
        ("body", [polygon(-7.4, 6.9, -6.8, 5.2, -3.2, 3.4, 3.4, 3.4, 5.6, 5.6, 4.6, 8.2, 1.6, 8.4,
                          -0.8, 6.6)]),
        ("tyre", [limb(2.4, 9.6, 4.2, 8.8, 0.9),
                  polygon(-6.6, 6.9, -0.9, 6.7, -1.2, 7.7, -5.8, 7.7)]),
    ]  # fmt: skip


def motorcycle_parked() -> list[Part]:
    """On its stand, nobody on it."""
    stand: list[Points] = [limb(-0.5, 3, -2.6, 0, 0.7)]
    return [*_motorcycle_frame(), ("metal", stand)]


def motorcycle_ridden() -> list[Part]:
    """With a rider who leans low over the tank."""
    return [
        *_motorcycle_frame(),
        ("trousers", [limb(-2.6, 8.2, 1.6, 6.2, 1.9), limb(1.4, 6.6, -0.6, 2.8, 1.5)]),
        ("body", [polygon(-4.4, 7.6, -1.4, 7.4, 2.6, 11.2, 1.2, 13.2, -1.2, 12.4)]),
        ("dim", [limb(1.2, 11.6, 3.4, 8.8, 1.3)]),
        ("body", [disc(2.7, 14.0, 2.0)]),
        ("glass", [polygon(3.0, 13.2, 4.8, 13.2, 4.7, 14.7, 3.0, 14.7)]),
    ]

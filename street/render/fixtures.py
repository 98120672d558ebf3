"""Figures of what never moves."""

from __future__ import annotations

from aiflow.street.render.canvas import Points
from aiflow.street.render.shapes import Part, box, limb, polygon


def bench() -> list[Part]:
    """A park bench from the front."""
    return [
        ("tyre", [box(-8.4, 0, -7.0, 10), box(7.0, 0, 8.4, 10)]),
        ("body", [box(-10, 8.4, 10, 10.6)]),
        ("body", [box(-10, 5.4, 10, 7.6)]),
        ("body", [polygon(-10.4, 2.9, 10.4, 2.9, 9.4, 4.6, -9.4, 4.6)]),
    ]  # fmt: skip


def kiosk() -> list[Part]:
    """A small shop with a counter and a striped awning; low, lest it hide the far lane."""
    stripes: list[Points] = [
        polygon(x, 11.6, x + 2.1, 11.6, 0.86 * (x + 2.1), 14.6, 0.86 * x, 14.6)
        for x in (-9.4, -5.2, -1.0, 3.2, 7.4)
    ]
    return [
        ("body", [box(-7.6, 0, 7.6, 14)]),
        ("counter", [box(-5.8, 6.2, 5.8, 11.2)]),
        ("wares", [box(x, 6.2, x + 1.6, 7.8) for x in (-4.6, -1.6, 2.6)]),
        ("dim", [box(-6.6, 5.2, 6.6, 6.2)]),
        ("pale", [polygon(-9.4, 11.6, 9.5, 11.6, 8.2, 14.6, -8.1, 14.6)]),
        ("body", stripes),
        ("body", [polygon(-6.5, 14.6, 6.5, 14.6, 4, 16.6, -4, 16.6)]),
    ]


def tent() -> list[Part]:
    """A ridge tent with an open flap."""
    return [
        ("string", [limb(-8.5, 6, -11.6, 0, 0.3), limb(8.5, 6, 11.6, 0, 0.3)]),
        ("body", [polygon(-10.4, 0, 10.4, 0, 1.2, 15, -1.2, 15)]),
        ("dim", [polygon(-10.4, 0, -8.6, 0, 0.2, 14.8, -1.0, 14.8)]),
        ("hair", [polygon(-3.4, 0, 3.4, 0, 0, 9.6)]),
        ("pale", [polygon(3.4, 0, 5.2, 0, 0, 9.6)]),
        ("metal", [limb(0, 14.6, 0, 18, 0.5)]),
        ("body", [polygon(0.2, 18, 3.8, 17.1, 0.2, 16)]),
    ]

"""Figures of people, robots, animals and cyclists: standing, or walking to the right."""

from __future__ import annotations

import math

import numpy as np

from aiflow.street.render.canvas import Points
from aiflow.street.render.shapes import Part, box, disc, limb, polygon, ring


def _legs(x: float, hip: float, stride: float, width: float) -> list[Part]:
    """Two legs from a hip, feet `stride` before and behind it, with shoes pointing right."""
    return [
        ("trousers", [limb(x, hip, x - stride, 0.6, width)]),
        ("trousers", [limb(x, hip, x + stride, 0.6, width)]),
        ("tyre", [box(f - 0.7, 0, f + 1.5, 0.9) for f in (x - stride, x + stride)]),
    ]


def _stride(phase: float, least: float, most: float) -> float:
    return least + (most - least) * (0.5 + 0.5 * math.cos(2 * math.pi * phase))


def _face(x: float, y: float, radius: float) -> list[Part]:
    """Seen from the front, with hair and two eyes."""
    r = radius
    return [
        ("hair", [disc(x, y + 0.25 * r, 1.1 * r)]),
        ("skin", [disc(x, y - 0.2 * r, 0.88 * r)]),
        ("hair", [box(x - 0.5 * r, y - 0.2 * r, x - 0.2 * r, y + 0.15 * r),
                  box(x + 0.2 * r, y - 0.2 * r, x + 0.5 * r, y + 0.15 * r)]),
    ]  # fmt: skip


def _profile(x: float, y: float, radius: float) -> list[Part]:
    """Seen from the side, with hair behind and a nose in front."""
    r = radius
    return [
        ("hair", [disc(x - 0.35 * r, y + 0.2 * r, 1.05 * r)]),
        ("skin", [disc(x + 0.15 * r, y - 0.1 * r, 0.9 * r)]),
        ("skin", [polygon(0.8, 0.3, 1.6, -0.3, 0.8, -0.5) * np.float32(r) + polygon(x, y)]),
    ]


def pedestrian_standing() -> list[Part]:
    """A grown-up in a long coat, facing us."""
    return [
        ("trousers", [box(-1.9, 0, -0.15, 8), box(0.15, 0, 1.9, 8)]),
        ("body", [limb(-2.4, 14.9, -3.7, 8.2, 1.6), limb(2.4, 14.9, 3.7, 8.2, 1.6)]),
        ("body", [polygon(-2.9, 5.6, 2.9, 5.6, 2.7, 15, 1.2, 16, -1.2, 16, -2.7, 15)]),
        ("dim", [box(-0.2, 6, 0.2, 15)]),
        *_face(0, 18, 2.1),
    ]


def pedestrian_walking(phase: float) -> list[Part]:
    """The same, walking to the right."""
    swing = _stride(phase, 2.4, 4.6)
    return [
        *_legs(0.4, 8, swing, 1.9),
        ("dim", [limb(1.4, 14.6, 1.2 - swing, 9.4, 1.5)]),
        ("body", [polygon(-2.9, 5.4, 2.9, 6.2, 3.6, 14.6, 2.4, 16, 0.6, 16, -0.8, 14.6)]),
        ("dim", [limb(1.6, 14.6, 1.8 + 0.9 * swing, 10.2, 1.5)]),
        *_profile(2.4, 18, 2.1),
    ]


def _balloon(x: float, y: float, hand_x: float, hand_y: float) -> list[Part]:
    return [
        ("string", [limb(hand_x, hand_y, x, y - 2.2, 0.3)]),
        ("body", [disc(x, y, 2.5)]),
    ]


def child_standing() -> list[Part]:
    """Small, big-headed, in a short dress, with a balloon."""
    return [
        *_balloon(3.4, 16.6, 2.6, 5.0),
        ("skin", [box(-1.3, 0, -0.2, 3.6), box(0.2, 0, 1.3, 3.6)]),
        ("body", [limb(-1.2, 7.2, -2.6, 4.6, 1.2), limb(1.2, 7.2, 2.6, 4.8, 1.2)]),
        ("body", [polygon(-2.6, 2.8, 2.6, 2.8, 1.5, 7.9, -1.5, 7.9)]),
        *_face(0, 9.9, 2.3),
    ]


def child_walking(phase: float) -> list[Part]:
    """The same, running to the right; the balloon trails."""
    swing = _stride(phase, 1.5, 2.9)
    return [
        *_balloon(-3.2, 15.6, -0.9, 6.2),
        *_legs(0.2, 3.8, swing, 1.2),
        ("body", [polygon(-2.4, 2.9, 2.4, 3.3, 1.9, 7.9, -0.2, 7.9)]),
        ("dim", [limb(1.0, 7.0, 3.6, 5.8, 1.1)]),
        *_profile(1.5, 9.9, 2.3),
    ]


def robot_standing() -> list[Part]:
    """Boxes: body, head, claws; two eyes on us."""
    return [
        ("metal", [box(-2.8, 0, -0.7, 5), box(0.7, 0, 2.8, 5), limb(0, 17, 0, 19.4, 0.5)]),
        ("metal", [limb(-4.2, 11.6, -5.0, 6.4, 1.3), limb(4.2, 11.6, 5.0, 6.4, 1.3)]),
        ("glow", [disc(0, 19.6, 0.8, 8)]),
        ("body", [box(-4, 4.6, 4, 12.4), box(-3, 13, 3, 17.2)]),
        ("metal", [box(-1.2, 12.2, 1.2, 13.2), box(-2, 6.4, 2, 9)]),
        ("glow", [box(-2, 14.6, -0.6, 16), box(0.6, 14.6, 2, 16)]),
    ]


def robot_walking(phase: float) -> list[Part]:
    """The same from the side, one claw reaching forward."""
    swing = _stride(phase, 1.8, 3.2)
    return [
        ("metal", [limb(0, 5, -swing, 0.8, 1.9)]),
        ("metal", [limb(0, 5, swing, 0.8, 1.9)]),
        ("tyre", [box(f - 1.2, 0, f + 2, 1.1) for f in (-swing, swing)]),
        ("metal", [limb(0.4, 17, -1.2, 19.4, 0.5)]),
        ("glow", [disc(-1.2, 19.6, 0.8, 8)]),
        ("body", [polygon(-3.6, 4.6, 2.8, 4.6, 3.8, 12.4, -2.6, 12.4),
                  polygon(-1.2, 13, 4.6, 13, 4.8, 17.2, -1.0, 17.2)]),
        ("metal", [limb(1.2, 10.4, 6.4, 10.0, 1.4), limb(6.2, 10.0, 7.6, 11.4, 0.9)]),
        ("metal", [limb(6.2, 9.8, 7.6, 8.6, 0.9), box(0.4, 12.2, 2.4, 13.2)]),
        ("glow", [box(2.8, 14.6, 4.9, 16)]),
    ]  # fmt: skip


def dog_sitting() -> list[Part]:
    """On its haunches, tail on the ground."""
    return [
        ("body", [limb(-3, 1, -6, 1.6, 1.0)]),
        ("body", [polygon(-3.8, 0, -4.4, 2.2, -3, 4.4, 0.2, 7.6, 2.6, 7.2, 3.0, 0,
                          1.6, 0, 1.2, 2.6, 0.4, 0)]),
        ("body", [disc(2.2, 8.9, 2.0), polygon(3.4, 9.6, 6.0, 8.9, 6.0, 7.8, 3.2, 7.5)]),
        ("hair", [polygon(0.4, 10.2, 1.8, 10.4, 1.5, 7.2, 0.2, 7.2), box(5.5, 8.3, 6.3, 9.1)]),
    ]  # fmt: skip


def dog_running(phase: float) -> list[Part]:
    """Legs apart, tail up."""
    swing = _stride(phase, 1.2, 2.6)
    return [
        ("body", [limb(x, 4, x + s, 0, 1.2) for x, s in ((-3.6, -swing), (2.6, swing))]),
        ("dim", [limb(x, 4, x + s, 0.3, 1.2) for x, s in ((-3.0, swing), (2.0, -swing))]),
        ("body", [limb(-4.4, 6.4, -7.0, 9.2, 1.0)]),
        ("body", [polygon(-4.9, 4.2, -4.7, 6.6, 2.6, 7.0, 4.0, 6.2, 3.2, 3.8, -1, 4.2)]),
        ("body", [disc(4.2, 8.2, 2.0), polygon(5.2, 8.9, 7.8, 8.2, 7.8, 7.0, 5.0, 6.8)]),
        ("hair", [polygon(2.4, 9.6, 3.8, 9.8, 3.0, 6.6, 1.6, 6.8), box(7.2, 7.6, 8.0, 8.4)]),
    ]


def _saddle() -> Part:
    return ("saddle", [polygon(-3.2, 12.5, 1.2, 12.5, 0.8, 9.6, -2.8, 9.6)])


def horse_grazing() -> list[Part]:
    """Straight legs, head to the ground."""
    legs: list[Points] = [limb(x, 8.6, x, 0, 1.3) for x in (-6.8, -4.8, 2.0, 4.0)]
    return [
        ("hair", [limb(-7.2, 11, -8.4, 4, 1.2)]),
        ("body", legs),
        ("body", [polygon(-7.8, 8.6, -7.6, 11.8, -5.6, 12.8, 3, 12.8, 5.0, 11.6, 5.0, 9,
                          3, 8.2, -5, 8)]),
        ("body", [polygon(2.8, 12.4, 5.4, 12.4, 10.6, 5.4, 8.9, 4.4, 4.4, 9.0)]),
        ("body", [polygon(8.8, 5.4, 10.6, 5.6, 12.6, 1.4, 11.4, 0.4, 10.0, 1.8)]),
        ("hair", [polygon(4.4, 13.0, 5.8, 12.6, 11.0, 5.8, 10.2, 5.4)]),
        _saddle(),
    ]  # fmt: skip


def horse_galloping(phase: float) -> list[Part]:
    """Legs wide apart, head forward, tail flying."""
    swing = _stride(phase, 2.2, 4.4)
    return [
        ("hair", [polygon(-7.0, 11.6, -8.4, 12.4, -12, 9.4, -11.4, 7.8, -7.2, 9.8)]),
        ("dim", [limb(x, 8, x + s, 0.4, 1.4) for x, s in ((-4.8, swing), (3.0, -swing))]),
        ("body", [limb(x, 8, x + s, 0, 1.4) for x, s in ((-6.2, -swing), (4.2, swing))]),
        ("body", [polygon(-7.8, 8.2, -7.4, 11.6, -5.6, 12.4, 3, 12.4, 5.4, 11.2,
                          5.4, 8.4, 3, 7.4, -5, 7.2)]),
        ("body", [polygon(2.4, 12, 6.6, 18, 8.8, 16.6, 5.6, 8.6)]),
        ("body", [polygon(6.2, 18.6, 8.2, 18.4, 12.2, 14.8, 11.2, 13.4, 7.2, 15.4)]),
        ("hair", [polygon(1.8, 12.4, 5.8, 18.8, 7.0, 18.2, 3.4, 11.8)]),
        _saddle(),
    ]  # fmt: skip


def _bicycle() -> list[Part]:
    spokes: list[Points] = [
        limb(-4.4, 3.1, -1.4, 7.2, 0.9),
        limb(-1.4, 7.0, 3.4, 7.4, 0.9),
        limb(3.0, 8.6, 4.4, 3.1, 0.9),
    ]
    return [
        ("tyre", [*ring(-4.4, 3.1, 3.1, 0.8), *ring(4.4, 3.1, 3.1, 0.8)]),
        ("body", spokes),
        ("body", [limb(-1.4, 7.2, 0.2, 3.0, 0.9), limb(0.2, 3.0, 3.4, 7.4, 0.9)]),
        ("tyre", [box(-2.6, 7.4, -0.2, 8.2), limb(2.6, 9.0, 4.2, 8.8, 0.8)]),
    ]


def cyclist_waiting() -> list[Part]:
    """Upright, one foot on the ground, looking at us."""
    return [
        *_bicycle(),
        ("trousers", [limb(-1.0, 9, -1.8, 0, 1.7), limb(-0.2, 9, 1.2, 3.4, 1.7)]),
        ("body", [polygon(-2.8, 8, 1.4, 8, 1.5, 14.4, -2.7, 14.4)]),
        ("dim", [limb(1.0, 13.4, 3.0, 9.0, 1.2)]),
        *_face(-0.6, 16.4, 1.9),
        ("body", [polygon(-2.7, 16.9, 1.5, 16.9, 0.7, 18.8, -1.9, 18.8)]),
    ]


def cyclist_riding(phase: float) -> list[Part]:
    """Bent over the handlebar."""
    angle = 2 * math.pi * phase
    foot = (0.2 + 1.3 * math.cos(angle), 2.8 + 1.3 * math.sin(angle))
    return [
        *_bicycle(),
        ("trousers", [limb(-1.2, 8.4, 2.0, 6.6, 1.6)]),
        ("trousers", [limb(1.8, 6.8, *foot, 1.4)]),
        ("body", [polygon(-3.0, 7.8, -0.4, 7.6, 3.8, 12.2, 2.6, 14.2, 0.6, 13.8)]),
        ("dim", [limb(2.4, 12.6, 4.0, 8.8, 1.2)]),
        *_profile(4.4, 15.0, 1.8),
        ("body", [polygon(2.2, 15.4, 6.6, 15.0, 5.6, 17.3, 3.4, 17.4)]),
    ]

"""Time of day and weather as light, sky and haze."""

from __future__ import annotations

from dataclasses import dataclass

from aiflow.street.render.canvas import Air, Rgb


@dataclass(frozen=True, slots=True)
class Hour:
    """What the time of day brings."""

    sky: tuple[Rgb, Rgb, Rgb]
    """From the zenith down to the horizon."""
    light: Rgb
    """On the backdrop and the ground."""
    lamplight: Rgb
    """On the things: by night they stand under street lamps."""
    cover: Rgb
    """Colour of clouds and fog."""
    lamps: bool
    """Whether street lamps and windows are lit."""


@dataclass(frozen=True, slots=True)
class Sky:
    """What the weather does to it."""

    cover: float
    """How far clouds hide the sky, 0..1."""
    dim: float
    """Factor on the light."""
    haze: tuple[float, float, float]
    """Haze before the backdrop, the far lane and the near lane, 0..1."""


HOURS = {
    "dawn": Hour(
        ((132, 168, 214), (226, 190, 206), (255, 206, 178)),
        (0.93, 0.82, 0.84), (0.97, 0.92, 0.92), (206, 188, 196), lamps=False,
    ),
    "day": Hour(
        ((84, 156, 228), (142, 198, 240), (206, 232, 246)),
        (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (206, 211, 216), lamps=False,
    ),
    "dusk": Hour(
        ((66, 52, 104), (168, 84, 110), (252, 146, 66)),
        (0.68, 0.54, 0.56), (0.88, 0.80, 0.78), (128, 98, 108), lamps=True,
    ),
    "night": Hour(
        ((8, 12, 32), (16, 22, 50), (34, 42, 78)),
        (0.34, 0.38, 0.50), (0.82, 0.81, 0.80), (66, 70, 86), lamps=True,
    ),
}  # fmt: skip

SKIES = {
    "clear": Sky(0.0, 1.0, (0.10, 0.02, 0.0)),
    "cloudy": Sky(0.62, 0.90, (0.16, 0.04, 0.0)),
    "rain": Sky(0.88, 0.80, (0.30, 0.10, 0.03)),
    "snow": Sky(0.80, 0.95, (0.30, 0.10, 0.02)),
    "fog": Sky(0.86, 0.98, (0.66, 0.42, 0.18)),
}


@dataclass(frozen=True, slots=True)
class Light:
    """Everything the painters need to know about an hour and a weather."""

    hour: Hour
    weather: str
    sky: tuple[Rgb, Rgb, Rgb]
    backdrop: Air
    ground: Air
    lanes: dict[str, Air]
    """The air before the things of each distance."""

    @property
    def lamps(self) -> bool:
        """Whether street lamps and windows are lit."""
        return self.hour.lamps


def light_of(time: str, weather: str) -> Light:
    """Light, sky and haze of an hour and a weather."""
    hour, sky = HOURS[time], SKIES[weather]
    dark = 0.78 if weather == "rain" else 1.0
    cover = scaled(hour.cover, dark)
    # The horizon keeps some of its colour under any cover: it tells dawn from dusk.
    kept = (sky.cover, sky.cover * 0.9, sky.cover * 0.62)
    colours = tuple(mix(c, cover, k) for c, k in zip(hour.sky, kept, strict=True))
    haze = mix(cover, hour.sky[2], 0.25)
    light = scaled(hour.light, sky.dim)
    lamplight = scaled(hour.lamplight, 0.5 + 0.5 * sky.dim)
    behind, far, near = sky.haze
    return Light(
        hour,
        weather,
        (colours[0], colours[1], colours[2]),
        Air(light, haze, behind),
        Air(light, haze, (far + near) / 2),
        {"far": Air(lamplight, haze, far), "near": Air(lamplight, haze, near)},
    )


def mix(one: Rgb, other: Rgb, amount: float) -> Rgb:
    """From `one` (0) to `other` (1)."""
    keep = 1 - amount
    return (
        keep * one[0] + amount * other[0],
        keep * one[1] + amount * other[1],
        keep * one[2] + amount * other[2],
    )


def scaled(colour: Rgb, factor: float) -> Rgb:
    """Darker (or brighter)."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor

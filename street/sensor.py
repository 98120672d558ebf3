"""The cheap camera through which the street is seen.

Lens, exposure, noise and webcam compression, in that order. Blur, shifts and noise are given for
a picture of 640 pixels and scale with the width, so that pictures of any size have the same
statistics once they are reduced to the size that an encoder sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from aiflow.common.errors import ConfigError

Image = NDArray[np.uint8]

_REFERENCE_WIDTH = 640
# Standard normal quantiles at the middle of 256 equal steps of probability.
_QUANTILES = np.array([NormalDist().inv_cdf((i + 0.5) / 256) for i in range(256)], np.float32)


@dataclass(frozen=True, slots=True)
class Strength:
    """How bad the camera is. Ranges are symmetric around nothing unless they say otherwise."""

    rotation_degrees: float
    shift: float
    """In picture widths."""
    zoom: float
    skew: float
    """Perspective and rolling shutter: displacement of corners, in picture widths."""
    blur: float
    """Largest standard deviation of defocus, in pixels at 640."""
    motion: float
    """Longest smear, in pixels at 640."""
    motion_probability: float
    exposure_stops: float
    balance: float
    """Relative gain of a colour channel."""
    vignette: float
    """Largest darkening of the corners, 0..1."""
    noise: tuple[float, float]
    """Standard deviation at mid grey in a well-lit picture, at 640."""
    jpeg_probability: float
    jpeg_quality: tuple[int, int]
    """At 640."""


_STRENGTHS = {
    "normal": Strength(
        0.7, 0.006, 0.012, 0.004, 1.2, 5.0, 0.15, 0.28, 0.05, 0.25, (2.0, 9.0), 0.5, (40, 90)
    ),
    "hard": Strength(
        2.0, 0.014, 0.03, 0.012, 3.0, 11.0, 0.4, 0.6, 0.11, 0.5, (8.0, 26.0), 0.9, (18, 60)
    ),
}
STRENGTHS = ("none", *_STRENGTHS)


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of a camera: where it points, its lens, exposure and compression.

    Each value is uniform in 0..1 and is mapped by the strength. A camera that films keeps its
    condition or lets it drift (`towards`); single pictures each come with their own.
    """

    geometry: tuple[float, ...]
    """Rotation, zoom, shift x and y, and x and y of four corners."""
    defocus: float
    smear: float
    smear_chance: float
    """Smeared when this is below the strength's probability."""
    smear_angle: float
    exposure: float
    balance: tuple[float, ...]
    vignette: float
    noise: float
    jpeg_chance: float
    jpeg: float

    def towards(self, other: Condition, amount: float) -> Condition:
        """Part of the way (0..1) to another one; whether it smears or compresses stays."""
        mine, theirs = np.array(self.values()), np.array(other.values())
        values = (1 - amount) * mine + amount * theirs
        return replace(
            _condition(values), smear_chance=self.smear_chance, jpeg_chance=self.jpeg_chance
        )

    def values(self) -> tuple[float, ...]:
        """All values, in order."""
        return (
            *self.geometry, self.defocus, self.smear, self.smear_chance, self.smear_angle,
            self.exposure, *self.balance, self.vignette, self.noise, self.jpeg_chance, self.jpeg,
        )  # fmt: skip


def sample_condition(rng: np.random.Generator) -> Condition:
    """Draw a camera's condition."""
    return _condition(rng.random(24))


def _condition(values: NDArray[np.float64]) -> Condition:
    v = [float(value) for value in values]
    return Condition(
        geometry=tuple(v[:12]),
        defocus=v[12],
        smear=v[13],
        smear_chance=v[14],
        smear_angle=v[15],
        exposure=v[16],
        balance=tuple(v[17:20]),
        vignette=v[20],
        noise=v[21],
        jpeg_chance=v[22],
        jpeg=v[23],
    )


def expose(
    image: Image,
    rng: np.random.Generator,
    strength: str = "normal",
    condition: Condition | None = None,
) -> Image:
    """What the camera delivers: uint8 (height, width, 3), BGR, of the same size.

    Without a condition one is drawn. Raises ConfigError for an unknown strength; "none" gives the
    image itself.
    """
    if strength == "none":
        return image
    if strength not in _STRENGTHS:
        raise ConfigError(f"unknown camera strength {strength!r}; use {', '.join(STRENGTHS)}")
    how = _STRENGTHS[strength]
    if condition is None:
        condition = sample_condition(rng)
    image = _blur(_warp(image, condition, how), condition, how)
    return _compress(_develop(image, condition, rng, how), condition, how)


def _warp(image: Image, condition: Condition, how: Strength) -> Image:
    height, width = image.shape[:2]
    u = 2 * np.array(condition.geometry) - 1
    angle = math.radians(how.rotation_degrees) * u[0]
    zoom = 1 + how.zoom * u[1]
    turn = zoom * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    corners = np.array([[-0.5, -0.375], [0.5, -0.375], [0.5, 0.375], [-0.5, 0.375]])
    moved = corners @ turn.T + how.shift * u[2:4] + 0.5 * how.skew * u[4:12].reshape(4, 2)
    scale = np.array([width, height / 0.75])
    centre = np.array([width, height]) / 2 - 0.5
    matrix = cv2.getPerspectiveTransform(
        (corners * scale + centre).astype(np.float32), (moved * scale + centre).astype(np.float32)
    )
    warped = cv2.warpPerspective(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(warped, np.uint8)


def _blur(image: Image, condition: Condition, how: Strength) -> Image:
    scale = image.shape[1] / _REFERENCE_WIDTH
    if condition.smear_chance < how.motion_probability:
        length = how.motion * (0.3 + 0.7 * condition.smear) * scale
        kernel = _smear_kernel(length, math.pi * condition.smear_angle)
        return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)
    sigma = how.blur * condition.defocus**2 * scale
    if sigma < 0.2:  # no pixel would change
        return image
    size = 2 * math.ceil(2.5 * sigma) + 1
    return np.asarray(cv2.GaussianBlur(image, (size, size), sigma), np.uint8)


def _smear_kernel(length: float, angle: float) -> NDArray[np.float32]:
    size = 2 * math.ceil(length / 2 + 0.5) + 1
    kernel = np.zeros((size, size), np.float32)
    half = np.array([math.cos(angle), math.sin(angle)]) * length / 2
    ends = [tuple(int(v) for v in np.rint((size // 2 + s * half) * 256)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 8)
    return kernel / np.float32(kernel.sum())


def _develop(image: Image, condition: Condition, rng: np.random.Generator, how: Strength) -> Image:
    """Exposure, white balance, vignette and noise."""
    height, width = image.shape[:2]
    gains = 1 + how.balance * (2 * np.array(condition.balance) - 1)
    gains *= 2 ** (how.exposure_stops * (2 * condition.exposure - 1))
    falloff = how.vignette * condition.vignette
    y, x = np.mgrid[-1:1:12j, -1:1:16j]
    shading = (1 - falloff * (x * x + y * y) / 2)[..., None] * gains
    gain = cv2.resize(shading.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    light = cv2.multiply(image, gain, dtype=cv2.CV_32F)

    low, high = how.noise
    sigma = low + (high - low) * condition.noise**2
    # A dark picture is amplified, and its noise with it.
    dark = 1.0 - min(1.0, float(image[::8, ::8].mean()) / 140.0)
    sigma *= (1 + 0.8 * dark) * width / _REFERENCE_WIDTH
    grain = _grain(image.size, rng).reshape(image.shape)
    cv2.multiply(grain, _noise_curve(image, sigma), dst=grain)
    return np.asarray(cv2.add(light, grain, dtype=cv2.CV_8U), np.uint8)


def _grain(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Standard normal values of 256 levels: ten times as fast as drawing them."""
    # The generator's own stream gives the seed; SFC64 gives bytes faster than any other.
    raw = np.random.SFC64(int(rng.integers(2**63))).random_raw(-(-count // 8))
    return np.asarray(cv2.LUT(raw.view(np.uint8)[:count].reshape(1, -1), _QUANTILES), np.float32)


def _noise_curve(image: Image, sigma: float) -> NDArray[np.float32]:
    """Standard deviation at each pixel: read noise plus shot noise, `sigma` at mid grey."""
    levels = np.arange(256, dtype=np.float32)
    table = sigma * np.sqrt(0.35 + 0.65 * levels / 128)
    return np.asarray(cv2.LUT(image, table.astype(np.float32)), np.float32)


def _compress(image: Image, condition: Condition, how: Strength) -> Image:
    """JPEG as a webcam makes it."""
    if condition.jpeg_chance >= how.jpeg_probability:
        return image
    low, high = how.jpeg_quality
    quality = low + (high - low) * condition.jpeg
    # A block of 8 pixels is a larger share of a smaller picture, so that one is compressed less:
    # with this exponent (fitted) the error at 160 pixels is the same for 320 and 640.
    exponent = max(1.0, _REFERENCE_WIDTH / image.shape[1]) ** 2
    flags = [cv2.IMWRITE_JPEG_QUALITY, round(100 * (1 - (1 - quality / 100) ** exponent))]
    _, data = cv2.imencode(".jpg", image, flags)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

"""The cheap camera through which the street is seen.

Lens, exposure, noise and webcam compression, in that order. Blur, shifts and noise are given for
a picture of 640 pixels and scale with the width, so that pictures of any size have the same
statistics once they are reduced to the size that an encoder sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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


def expose(image: Image, rng: np.random.Generator, strength: str = "normal") -> Image:
    """What the camera delivers: uint8 (height, width, 3), BGR, of the same size.

    Raises ConfigError for an unknown strength; "none" gives the image itself.
    """
    if strength == "none":
        return image
    if strength not in _STRENGTHS:
        raise ConfigError(f"unknown camera strength {strength!r}; use {', '.join(STRENGTHS)}")
    how = _STRENGTHS[strength]
    image = _blur(_warp(image, rng, how), rng, how)
    return _compress(_develop(image, rng, how), rng, how)


def _warp(image: Image, rng: np.random.Generator, how: Strength) -> Image:
    height, width = image.shape[:2]
    u = rng.uniform(-1, 1, 12)
    angle = math.radians(how.rotation_degrees) * u[0]
    zoom = 1 + how.zoom * u[1]
    turn = zoom * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
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


def _blur(image: Image, rng: np.random.Generator, how: Strength) -> Image:
    scale = image.shape[1] / _REFERENCE_WIDTH
    defocus, smear, moves, direction = (float(v) for v in rng.random(4))
    if moves < how.motion_probability:
        length = how.motion * (0.3 + 0.7 * smear) * scale
        kernel = _smear_kernel(length, math.pi * direction)
        return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)
    sigma = how.blur * defocus * defocus * scale
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


def _develop(image: Image, rng: np.random.Generator, how: Strength) -> Image:
    """Exposure, white balance, vignette and noise."""
    height, width = image.shape[:2]
    u = rng.uniform(-1, 1, 4)
    gains = 2 ** (how.exposure_stops * u[0]) * (1 + how.balance * u[1:])
    falloff = how.vignette * float(rng.random())
    y, x = np.mgrid[-1:1:12j, -1:1:16j]
    shading = (1 - falloff * (x * x + y * y) / 2)[..., None] * gains
    gain = cv2.resize(shading.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    light = cv2.multiply(image, gain, dtype=cv2.CV_32F)

    low, high = how.noise
    sigma = low + (high - low) * float(rng.random()) ** 2
    # A dark picture is amplified, and its noise with it.
    dark = 1.0 - min(1.0, float(image[::8, ::8].mean()) / 140.0)
    sigma *= (1 + 0.8 * dark) * width / _REFERENCE_WIDTH
    grain = _grain(image.size, rng).reshape(image.shape)
    cv2.multiply(grain, _noise_curve(image, sigma), dst=grain)
    cv2.add(light, grain, dst=light)
    return np.asarray(cv2.convertScaleAbs(cv2.max(light, 0.0)), np.uint8)


def _grain(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Standard normal values, quantized to a byte: through a table, ten times as fast as drawing."""
    # The generator's own stream gives the seed; SFC64 gives bytes faster than any other.
    raw = np.random.SFC64(int(rng.integers(2**63))).random_raw(-(-count // 8))
    return np.asarray(cv2.LUT(raw.view(np.uint8)[:count].reshape(1, -1), _QUANTILES), np.float32)


def _noise_curve(image: Image, sigma: float) -> NDArray[np.float32]:
    """Standard deviation at each pixel: read noise plus shot noise, `sigma` at mid grey."""
    levels = np.arange(256, dtype=np.float32)
    table = sigma * np.sqrt(0.35 + 0.65 * levels / 128)
    return np.asarray(cv2.LUT(image, table.astype(np.float32)), np.float32)


def _compress(image: Image, rng: np.random.Generator, how: Strength) -> Image:
    """JPEG as a webcam makes it."""
    low, high = how.jpeg_quality
    chance, quality = float(rng.random()), float(rng.uniform(low, high))
    if chance >= how.jpeg_probability:
        return image
    # A block of 8 pixels is a larger share of a smaller picture, so that one is compressed less:
    # with this exponent (fitted) the error at 160 pixels is the same for 320 and 640.
    exponent = max(1.0, _REFERENCE_WIDTH / image.shape[1]) ** 2
    flags = [cv2.IMWRITE_JPEG_QUALITY, round(100 * (1 - (1 - quality / 100) ** exponent))]
    _, data = cv2.imencode(".jpg", image, flags)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

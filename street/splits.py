"""Disjoint streams of random generators: training, calibration, the test splits, the animation.

Every scene of every split has a number of 128 bits, used as the key of a Philox generator:

    | split: 8 bits | seed: 56 bits | index: 64 bits |

The split sits in the top bits, so no seed and no index of one split ever gives the key of
another, and Philox streams of different keys are different streams (Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC 2011).
"""

from __future__ import annotations

import numpy as np

from aiflow.common.errors import ConfigError
from aiflow.street.scene import Scene
from aiflow.street.world import World

SPLITS = ("train", "calibration", "test", "hard", "heldout", "animation")
SEEDS = 2**56
INDICES = 2**64


def number(split: str, seed: int, index: int) -> int:
    """The scene's number, different for every (split, seed, index). Raises ConfigError."""
    if split not in SPLITS:
        raise ConfigError(f"unknown split {split!r}; the splits are {', '.join(SPLITS)}")
    if not 0 <= seed < SEEDS:
        raise ConfigError(f"seed {seed} is not in 0..{SEEDS - 1}")
    if not 0 <= index < INDICES:
        raise ConfigError(f"index {index} is not in 0..{INDICES - 1}")
    return (SPLITS.index(split) + 1) << 120 | seed << 64 | index


def rng(split: str, seed: int, index: int) -> np.random.Generator:
    """The generator for scene `index` of a split and seed. Raises ConfigError."""
    return np.random.Generator(np.random.Philox(key=number(split, seed, index)))


def draw(world: World, split: str, rng: np.random.Generator) -> Scene:
    """Draw a scene of a split; those of `heldout` have a thing in a held-out pair."""
    return world.sample_held_out(rng) if split == "heldout" else world.sample(rng)

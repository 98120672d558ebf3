"""The street: a small built-in world with ground truth.

    world    what exists and how often: sampling, exact entropy
    scene    one scene as a graph of facts, and scores on facts
    splits   disjoint streams of random generators: train, calibration, test, hard, heldout
    pose     the continuous nuisance of one picture of a scene
    render   scene + pose -> picture
    sensor   the cheap camera through which the picture is seen
    grammar  scene -> captions -> facts
    animation   a street that lives in time

Everything is a pure function of its arguments and of the generator passed in.
"""

from __future__ import annotations

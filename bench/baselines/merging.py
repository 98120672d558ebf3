"""Density-peak merging of feature tokens (DPC-KNN), as TOFC does it (arXiv 2503.12926).

A token's local density is rho = exp(-mean squared distance to its K nearest neighbours); its
separation delta the distance to the nearest denser token. The tokens with the largest rho * delta
become centres, every other token joins the nearest centre, and a group is replaced by its mean.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS: Final = 5


def merge(tokens: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Group tokens (P, C) into `count` groups: the label of each token, (P,).

    Labels are numbered in the order in which they first appear. With as many groups as tokens
    nothing is merged.
    """
    if count >= len(tokens):
        return np.arange(len(tokens))
    squared = _squared_distances(tokens)
    chosen = np.argsort(-_scores(squared), kind="stable")[:count]
    nearest = squared[:, chosen].argmin(axis=1)
    nearest[chosen] = np.arange(count)  # of equal tokens, each centre keeps itself
    _, first = np.unique(nearest, return_index=True)
    rank = np.empty(count, np.int64)
    rank[np.argsort(first)] = np.arange(count)
    return np.asarray(rank[nearest], np.int64)


def means(tokens: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of each group, (groups, C)."""
    member = np.zeros((int(labels.max()) + 1, len(tokens)), np.float32)
    member[labels, np.arange(len(tokens))] = 1
    return np.asarray((member @ tokens) / member.sum(axis=1, keepdims=True), np.float32)


def _squared_distances(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = (tokens**2).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * tokens @ tokens.T, 0)
    # In units of the picture's own mean, or exp() below is 0 for all of them.
    return np.asarray(squared / max(float(squared.mean()), 1e-12), np.float32)


def _scores(squared: NDArray[np.float32]) -> NDArray[np.float32]:
    near = np.sort(squared, axis=1)[:, 1 : NEIGHBOURS + 1]
    density = np.exp(-near.mean(axis=1))
    order = np.argsort(-density, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    denser = rank[None] < rank[:, None]  # of equal ones the earlier counts as denser
    to_denser = np.where(denser, squared, np.inf).min(axis=1)
    to_denser[order[0]] = squared[order[0]].max()
    return np.asarray(density * np.sqrt(to_denser), np.float32)

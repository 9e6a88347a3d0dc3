"""Draws of rows, to start from: at random, or far apart.

They go by the inverse of the cumulative weights, so a row of weight w is drawn as w copies of it would be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.models.kmeans import squared_distances

COMPILED_WORK = 1 << 28  # values by candidates for which NumPy takes as long as to compile the kernel


def put_in_order(rows: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return rows (n, d) and their weights in an order that depends on the rows alone, whatever order they came in."""
    order = np.argsort(np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}")[:, 0], kind="stable")
    return rows[order], weight[order]


def draw_rows(points: FloatArray, weight: FloatArray, k: int, rngs: Sequence[np.random.Generator]) -> FloatArray:
    """Draw k rows of different values in proportion to their weights; where there are fewer, some again.

    Parameters
    ----------
    points : (n, d) array
        Rows.
    weight : (n,) array
        Their weights.
    k : int
        How many rows to draw.
    rngs : sequence of numpy.random.Generator
        Each decides one draw of k rows.

    Returns
    -------
    (r, k, d) array
        The rows that were drawn, for each of the r generators.
    """
    drawn = np.empty((len(rngs), k, points.shape[1]))
    left = np.tile(weight, (len(rngs), 1))
    for j in range(k):
        drawn[:, j] = points[draw(_or_else(left, weight), 1, rngs)[:, 0]]
        left[(points == drawn[:, j, None]).all(axis=2)] = 0.0
    return drawn


def spread_out(points: FloatArray, weight: FloatArray, k: int, rngs: Sequence[np.random.Generator]) -> FloatArray:
    """Draw k rows by greedy k-means++ (Arthur & Vassilvitskii 2007): the best of a few candidates each time.

    Arguments and result are those of `draw_rows`.
    """
    r, candidates = len(rngs), 2 + int(np.log(k))
    shortened = _shortening(points, k * candidates)
    drawn = np.empty((r, k, points.shape[1]))
    drawn[:, 0] = points[draw(np.tile(weight, (r, 1)), 1, rngs)[:, 0]]
    nearest = shortened(np.full((r, len(points)), np.inf), drawn[:, :1])[:, 0]
    for j in range(1, k):
        tried = points[draw(_or_else(weight * nearest, weight), candidates, rngs)]
        distance = shortened(nearest, tried)
        best = np.einsum("n,rtn->rt", weight, distance).argmin(axis=1)
        drawn[:, j], nearest = tried[np.arange(r), best], distance[np.arange(r), best]
    return drawn


def _or_else(weights: FloatArray, otherwise: FloatArray) -> FloatArray:
    """Return weights (r, n), and others (n,) instead of any (n,) that are all 0."""
    return np.where(weights.any(axis=1, keepdims=True), weights, otherwise)


def _shortening(points: FloatArray, candidates: int) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """Return what makes of squared distances (r, n) to the nearest drawn row those (r, t, n) with a candidate."""
    if points.size * candidates >= COMPILED_WORK:
        from mixtura.kernels import apart
        from mixtura.kernels.simd import has_fma

        if has_fma():
            return apart.shortening(points)
    return partial(_shorten, points)


def _shorten(points: FloatArray, nearest: FloatArray, tried: FloatArray) -> FloatArray:
    """Return the smaller of what is known, (r, n), and the squared distance to each of candidates (r, t, d)."""
    distance = squared_distances(points, tried.reshape(-1, points.shape[1])).T
    return np.minimum(nearest[:, None], distance.reshape(*tried.shape[:2], -1))


def draw(weights: FloatArray, size: int, rngs: Sequence[np.random.Generator]) -> IntArray:
    """Draw numbers (r, size) in proportion to weights (r, n), each of the r by its own; never one of weight 0."""
    cumulative = np.cumsum(weights, axis=1)
    wanted = np.stack([rng.random(size) for rng in rngs]) * cumulative[:, -1:]
    found = [np.searchsorted(own, here, side="right") for own, here in zip(cumulative, wanted, strict=True)]
    last = weights.shape[1] - 1 - (weights[:, ::-1] != 0).argmax(axis=1)
    numbers: IntArray = np.minimum(found, last[:, None])
    return numbers

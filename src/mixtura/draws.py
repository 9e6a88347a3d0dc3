"""Draws of rows, to start from: at random, or far apart.

They go by the inverse of the cumulative weights, so a row of weight w is drawn as w copies of it would be.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mixtura._types import FloatArray, IntArray
from mixtura.models.kmeans import squared_distances

COMPILED_WORK = 1 << 28  # values by candidates for which NumPy takes as long as to compile the kernel


def put_in_order(rows: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return rows (n, d) and their weights in an order that depends on the rows alone, whatever order they came in."""
    order = np.argsort(np.ascontiguousarray(rows).view(f"V{rows.itemsize * rows.shape[1]}")[:, 0], kind="stable")
    return rows[order], weight[order]


def draw_rows(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Draw k rows of different values in proportion to their weights; where there are fewer, some again."""
    chosen: list[int] = []
    left = weight.copy()
    for _ in range(k):
        chosen += draw(left if left.any() else weight, 1, rng).tolist()
        left[(points == points[chosen[-1]]).all(axis=1)] = 0.0
    drawn: FloatArray = points[chosen]
    return drawn


def spread_out(points: FloatArray, weight: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """Draw k rows by greedy k-means++ (Arthur & Vassilvitskii 2007): the best of a few candidates each time."""
    candidates = 2 + int(np.log(k))
    chosen = draw(weight, 1, rng).tolist()
    shortened = _shortening(points, k * candidates)
    nearest = shortened(np.full(len(points), np.inf), points[chosen])[:, 0]
    while len(chosen) < k:
        gain = weight * nearest
        tried = draw(gain if gain.any() else weight, candidates, rng)
        distance = shortened(nearest, points[tried])
        best = int(np.argmin(np.einsum("n,nk->k", weight, distance)))
        chosen.append(int(tried[best]))
        nearest = distance[:, best]
    spread: FloatArray = points[chosen]
    return spread


def _shortening(points: FloatArray, candidates: int) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """Return the function that makes squared distances (n,) to the nearest drawn row those (n, t) with a candidate."""
    if points.size * candidates >= COMPILED_WORK:
        from mixtura.kernels import apart
        from mixtura.kernels.simd import has_fma

        if has_fma():
            return apart.shortening(points)
    return lambda nearest, tried: np.minimum(nearest[:, None], squared_distances(points, tried))


def draw(weight: FloatArray, size: int, rng: np.random.Generator) -> IntArray:
    """Draw row numbers in proportion to `weight`; never one of weight 0."""
    cumulative = np.cumsum(weight)
    drawn = np.searchsorted(cumulative, rng.random(size) * cumulative[-1], side="right")
    last = int(np.flatnonzero(weight)[-1])
    rows: IntArray = np.minimum(drawn, last)
    return rows

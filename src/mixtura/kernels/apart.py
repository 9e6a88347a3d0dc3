"""How far rows are from the nearest of those drawn so far and one more: what k-means++ compares its candidates by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mixtura._types import FloatArray
from mixtura.kernels._jit import entry_jit
from mixtura.kernels.simd import LANES, fma, hsum, load, splat
from mixtura.kernels.tile import constant, padded, up_to


@entry_jit
def shorten(
    points: FloatArray,  # IN (n, d8)
    tried: FloatArray,  # IN (t, d8)
    nearest: FloatArray,  # IN (n,)
    out: FloatArray,  # OUT (t, n)
) -> None:
    """Write the smaller of what is known and the squared distance to each candidate, by differences."""
    for i in range(points.shape[0]):
        for q in range(tried.shape[0]):
            square = splat(0.0)
            for j in range(0, points.shape[1], 8):
                y = load(points, i, j) - load(tried, q, j)
                square = fma(y, y, square)
            out[q, i] = min(hsum(square), nearest[i])


def shortening(points: FloatArray) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """Return the function of what is known, (r, n), and of candidates (r, t, d) that gives distances (r, t, n)."""
    d8 = up_to(LANES, points.shape[1])
    rows = padded(points, d8)

    def shortened(nearest: FloatArray, tried: FloatArray) -> FloatArray:
        out = np.empty((*tried.shape[:2], len(rows)))
        for known, candidates, distance in zip(nearest, tried, out, strict=True):
            shorten(rows, padded(candidates, d8), constant(known), distance)
        return out

    return shortened

"""Squared distances by whitening: |L z - L mu|^2 for a triangular factor L of each component (formula E4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mixtura._types import FloatArray
from mixtura.kernels._jit import inline_jit, jit
from mixtura.kernels.panel import corner, less_squares, load_strip, outer, spread, spread_strip, store_strip
from mixtura.kernels.tile import LOG4_E, ROOT_HALF_LOG4_E, TILE, constant, padded, up_to


@inline_jit
def whitened(
    shape: Any,
    factor: FloatArray,  # IN (dp, dp) upper triangular: L'
    offset: FloatArray,  # IN (dp,) -L mu
    zt: FloatArray,  # IN (>= dp, rows)
    i: int,
    s: int,
) -> Any:
    """Return a panel of L z - L mu: its rows from `i` on, for the rows of data from `s` on."""
    y = spread(shape, offset, i)
    for j in range(i):
        y = outer(factor, j, i, load_strip(shape, zt, j, s), y)
    return corner(shape, factor, i, zt, s, y)


@jit
def log_densities(
    shape: Any,  # of the panels
    zt: FloatArray,  # IN (>= dp, TILE)
    factors: FloatArray,  # IN (k, dp, dp)
    offsets: FloatArray,  # IN (k, dp)
    peaks: FloatArray,  # IN (k,)
    joint: FloatArray,  # OUT (k, TILE)
) -> None:
    """Write peak - |L z - L mu|^2."""
    for k in range(factors.shape[0]):
        factor, offset = factors[k], offsets[k]
        for s in range(0, TILE, shape.width):
            left = spread_strip(shape, peaks[k])
            for i in range(0, factor.shape[0], shape.rows):
                left = less_squares(whitened(shape, factor, offset, zt, i, s), left)
            store_strip(joint, k, s, left)


def pack(
    multiple: int, shift: FloatArray, scale: FloatArray, means: FloatArray, factors: FloatArray, peaks: FloatArray
) -> tuple[FloatArray, ...]:
    """Return shift, scale, transposed factors, offsets and peaks as kernels take them, padded to a multiple."""
    dp = up_to(multiple, means.shape[1])
    factors = factors * ROOT_HALF_LOG4_E
    offsets = -np.einsum("kij,kj->ki", factors, means)
    transposed = padded(np.swapaxes(factors, -1, -2), dp, dp)
    return constant(shift), constant(scale), transposed, padded(offsets, dp), constant(peaks * LOG4_E)
